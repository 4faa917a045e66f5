//! Names as parts of object paths, as sd_bus_path_encode(3) writes them.

use zbus::OwnedObjectPath;

/// Where the manager is.
pub(super) const MANAGER: &str = "/org/freedesktop/machine1";

/// The object of a machine.
pub(super) fn of_machine(name: &str) -> OwnedObjectPath {
    below("machine", name)
}

/// The object of an image.
pub(super) fn of_image(name: &str) -> OwnedObjectPath {
    below("image", name)
}

fn below(kind: &str, name: &str) -> OwnedObjectPath {
    let path = zbus::ObjectPath::from_string_unchecked(format!("{MANAGER}/{kind}/{}", label(name)));
    path.into()
}

/// Letters and digits, but no digit first; all other bytes by their numbers.
fn label(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut result = String::new();
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0);
        if plain {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("_{byte:02x}"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        assert_eq!(of_machine(".host").as_str(), "/org/freedesktop/machine1/machine/_2ehost");
        assert_eq!(of_image("1a-B2").as_str(), "/org/freedesktop/machine1/image/_31a_2dB2");
        assert_eq!(label(""), "_");
        for name in ["", ".host", "ü", "a_b", "9"] {
            assert!(zbus::ObjectPath::try_from(format!("/x/{}", label(name))).is_ok(), "{name}");
        }
    }
}
