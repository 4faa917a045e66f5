//! What comes with a call. Callers are not trusted: each parameter is taken by its type, and none may be left.

use serde_json::{Map, Value};

use super::Refusal;

/// The parameters of a call.
#[derive(Debug)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    pub(super) fn new(parameters: Map<String, Value>) -> Self {
        Self(parameters)
    }

    /// One that may be missing; null is as good as that.
    fn take<T>(&mut self, name: &'static str, read: impl FnOnce(Value) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| Refusal::parameter(name)),
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.take(name, |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        self.take(name, |value| value.as_bool())
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.take(name, |value| value.as_i64())
    }

    /// A number of 64 bits without a sign, as sizes and limits are.
    pub(super) fn size(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.take(name, |value| value.as_u64())
    }

    /// An id of a user or group: neither of the numbers that mean none.
    pub(super) fn id(&mut self, name: &'static str) -> Result<Option<u32>, Refusal> {
        let valid = |id: &u32| *id != u32::MAX && *id != 0xffff;
        self.take(name, |value| u32::try_from(value.as_u64()?).ok().filter(valid))
    }

    pub(super) fn numbers(&mut self, name: &'static str) -> Result<Vec<i32>, Refusal> {
        let read = |value: Value| match value {
            Value::Array(all) => all.iter().map(|one| i32::try_from(one.as_i64()?).ok()).collect::<Option<Vec<i32>>>(),
            _ => None,
        };
        Ok(self.take(name, read)?.unwrap_or_default())
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Refusal> {
        self.take(name, |value| match value {
            Value::Array(all) => all.into_iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let found = |value: Value| {
            let word = value.as_str()?;
            words.iter().find(|(one, _)| *one == word).map(|(_, meaning)| *meaning)
        };
        self.take(name, found)
    }

    /// Any value.
    pub(super) fn value(&mut self, name: &'static str) -> Result<Option<Value>, Refusal> {
        self.take(name, Some)
    }

    /// Nothing else was given.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::parameter(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Parameters {
        Parameters::new(value.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn each_by_its_type() {
        let mut parameters =
            of(json!({ "a": "x", "b": true, "n": -4, "i": [1, 2], "s": ["x"], "w": "yes", "z": null }));
        assert_eq!(parameters.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(parameters.flag("b").unwrap(), Some(true));
        assert_eq!(parameters.number("n").unwrap(), Some(-4));
        assert_eq!(parameters.numbers("i").unwrap(), [1, 2]);
        assert_eq!(parameters.texts("s").unwrap(), Some(vec!["x".to_owned()]));
        assert_eq!(parameters.word("w", &[("no", 0), ("yes", 1)]).unwrap(), Some(1));
        assert_eq!(parameters.text("z").unwrap(), None);
        assert!(parameters.end().is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let name = |refusal: Refusal| refusal.parameters["parameter"].as_str().unwrap_or_default().to_owned();
        assert_eq!(name(of(json!({ "a": 1 })).text("a").unwrap_err()), "a");
        assert_eq!(name(of(json!({ "i": [1, "x"] })).numbers("i").unwrap_err()), "i");
        assert_eq!(name(of(json!({ "i": [1i64 << 40] })).numbers("i").unwrap_err()), "i");
        assert_eq!(name(of(json!({ "u": u32::MAX })).id("u").unwrap_err()), "u");
        assert_eq!(name(of(json!({ "u": -1 })).id("u").unwrap_err()), "u");
        assert_eq!(name(of(json!({ "n": 1.5 })).number("n").unwrap_err()), "n");
        assert_eq!(name(of(json!({ "w": "maybe" })).word("w", &[("no", 0)]).unwrap_err()), "w");
        assert_eq!(name(of(json!({ "other": 1 })).end().unwrap_err()), "other");
    }
}
