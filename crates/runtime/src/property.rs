//! Values of properties, from ours to the service manager's.

use cgroup::scope::Value;
use spec::PropertyValue;

/// The same value as it goes over the bus.
pub(crate) fn value(value: &PropertyValue) -> Value {
    match value.clone() {
        PropertyValue::Text(text) => Value::String(text),
        PropertyValue::Boolean(yes) => Value::Boolean(yes),
        PropertyValue::U32(number) => Value::U32(number),
        PropertyValue::I32(number) => Value::I32(number),
        PropertyValue::U64(number) => Value::U64(number),
        PropertyValue::Texts(all) => Value::Strings(all),
        PropertyValue::Bits(bytes) => Value::Bytes(bytes),
        PropertyValue::PathNumbers(all) => Value::TextNumbers(all),
        PropertyValue::Pairs(all) => Value::TextPairs(all),
        PropertyValue::Networks(all) => {
            Value::Networks(all.into_iter().map(|one| (one.family, one.address, one.prefix)).collect())
        }
        PropertyValue::Sockets(all) => {
            Value::Sockets(all.into_iter().map(|one| (one.family, one.protocol, one.count, one.first)).collect())
        }
        PropertyValue::Links { allow, names } => Value::Marked(allow, names),
        PropertyValue::Sets(all) => {
            Value::Sets(all.into_iter().map(|one| (one.source, one.family, one.table, one.set)).collect())
        }
    }
}
