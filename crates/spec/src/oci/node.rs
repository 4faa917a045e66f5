//! A JSON document whose every part has to be asked for: what nobody has asked for is refused by its path.

use serde_json::{Map, Value};

use super::BundleError;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// Such as `process.args[0]`.
    pub(super) path: String,
    value: Value,
}

/// The members of an object that have not been asked for yet.
#[derive(Debug)]
pub(super) struct Object {
    path: String,
    members: Map<String, Value>,
}

impl Node {
    /// The whole document.
    pub(super) fn root(value: Value) -> Self {
        Self { path: String::new(), value }
    }

    /// An error about this value.
    pub(super) fn error(&self, reason: impl Into<String>) -> BundleError {
        BundleError::Value { path: shown(&self.path), reason: reason.into() }
    }

    /// It has a meaning, but nothing carries that out.
    pub(super) fn refused(&self, reason: &'static str) -> BundleError {
        BundleError::NotHonoured { path: shown(&self.path), reason }
    }

    pub(super) fn object(self) -> Result<Object, BundleError> {
        match self.value {
            Value::Object(members) => Ok(Object { path: self.path, members }),
            _ => Err(self.error("it is no object")),
        }
    }

    pub(super) fn array(self) -> Result<Vec<Node>, BundleError> {
        match self.value {
            Value::Array(values) => {
                let at = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
                Ok(values.into_iter().enumerate().map(at).collect())
            }
            _ => Err(self.error("it is no array")),
        }
    }

    /// Text without NUL bytes, which no argument of a system call can have.
    pub(super) fn text(&self) -> Result<&str, BundleError> {
        match self.value.as_str() {
            Some(text) if text.contains('\0') => Err(self.error("it has a NUL byte in it")),
            Some(text) => Ok(text),
            None => Err(self.error("it is no string")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, BundleError> {
        self.value.as_bool().ok_or_else(|| self.error("it is neither true nor false"))
    }

    pub(super) fn signed(&self) -> Result<i64, BundleError> {
        self.value.as_i64().ok_or_else(|| self.error("it is no whole number, or too large"))
    }

    pub(super) fn unsigned(&self) -> Result<u64, BundleError> {
        self.value.as_u64().ok_or_else(|| self.error("it is no whole number from zero on, or too large"))
    }

    /// A number from zero on; any below it is no limit.
    pub(super) fn limit(&self) -> Result<Option<u64>, BundleError> {
        match self.value.as_i64() {
            Some(number) if number < 0 => Ok(None),
            _ => self.unsigned().map(Some),
        }
    }

    /// A user or group id.
    pub(super) fn id(&self) -> Result<u32, BundleError> {
        let number = u32::try_from(self.unsigned()?).ok().filter(|number| *number != u32::MAX);
        number.ok_or_else(|| self.error("it is no user or group id"))
    }

    /// What another reader of text makes of it.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, BundleError> {
        read(self.text()?).map_err(|error| self.error(error.to_string()))
    }

    /// Nothing is asked for: null, or an empty object or array.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        }
    }
}

impl Object {
    /// A member, if there is one that is not null.
    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        let value = self.members.remove(name).filter(|value| !value.is_null())?;
        Some(Node { path: self.below(name), value })
    }

    /// A member that has to be there.
    pub(super) fn need(&mut self, name: &str) -> Result<Node, BundleError> {
        let path = self.below(name);
        self.take(name).ok_or(BundleError::Missing(path))
    }

    /// A member that is an object: without any members where it is missing.
    pub(super) fn take_object(&mut self, name: &str) -> Result<Object, BundleError> {
        match self.take(name) {
            Some(node) => node.object(),
            None => Ok(Self { path: self.below(name), members: Map::new() }),
        }
    }

    /// All members, for objects whose names are data.
    pub(super) fn entries(self) -> Vec<(String, Node)> {
        let path = self.path;
        let node = |(name, value)| {
            let node = Node { path: format!("{path}[{name:?}]"), value };
            (name, node)
        };
        self.members.into_iter().map(node).collect()
    }

    /// Members that have a meaning in the specification, but are not carried out: fine if they say nothing.
    pub(super) fn refuse(&mut self, names: &[(&str, &'static str)]) -> Result<(), BundleError> {
        for (name, reason) in names {
            match self.take(name) {
                Some(node) if !node.is_empty() => return Err(node.refused(reason)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), BundleError> {
        match self.members.keys().next() {
            Some(name) => Err(BundleError::Unknown(self.below(name))),
            None => Ok(()),
        }
    }

    /// The path of a member.
    pub(super) fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the document".to_owned() } else { path.to_owned() }
}
