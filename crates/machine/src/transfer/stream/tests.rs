use super::*;

fn facts() -> Facts {
    Facts { mode: 0o4755, uid: 7, gid: 8, accessed: (-1, 999_999_999), modified: (1 << 40, 0) }
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn walk() -> Vec<Frame<'static>> {
    vec![
        Frame::Directory(facts(), name("a")),
        Frame::Attribute(name("user.x"), b"value"),
        Frame::File(facts(), name("b\n\u{1}")),
        Frame::Attribute(name("user.y"), b""),
        Frame::Data(0, b"contents"),
        Frame::Data(1 << 40, b"more"),
        Frame::End(1 << 41),
        Frame::Link(facts(), name("c"), name("../../etc/passwd")),
        Frame::Directory(facts(), name("d")),
        Frame::Fifo(facts(), name("e")),
        Frame::Up,
        Frame::Up,
        Frame::Done,
    ]
}

fn bytes(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
    bytes
}

/// All frames as text, and how it ended.
fn read(bytes: &[u8]) -> (Vec<String>, Option<String>) {
    let mut frames = Frames::new(bytes);
    let mut all = Vec::new();
    loop {
        match frames.next_frame() {
            Ok(Some(frame)) => all.push(format!("{frame:?}")),
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(error.to_string())),
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let expected: Vec<String> = walk().iter().map(|frame| format!("{frame:?}")).collect();
    let bytes = bytes(&walk());
    assert_eq!(read(&bytes), (expected, None));
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]).1.as_deref(), Some("the stream ends early"), "{length}");
    }
}

#[test]
fn one_file_is_a_walk() {
    for walk in [
        vec![Frame::File(facts(), name("a")), Frame::End(0), Frame::Done],
        vec![Frame::Link(facts(), name("a"), name("b")), Frame::Done],
        vec![Frame::Directory(facts(), name("a")), Frame::Up, Frame::Done],
    ] {
        assert_eq!(read(&bytes(&walk)).1, None);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for wrong in ["", ".", "..", "/", "a/b", "/etc", "../x", "a\0b", &"x".repeat(256)] {
        for frame in [
            Frame::Directory(facts(), name(wrong)),
            Frame::File(facts(), name(wrong)),
            Frame::Fifo(facts(), name(wrong)),
            Frame::Link(facts(), name(wrong), name("target")),
        ] {
            let (frames, error) = read(&bytes(&[frame]));
            assert_eq!((frames.len(), error.as_deref()), (0, Some("the stream has a name that is none")), "{wrong:?}");
        }
    }
    for wrong in ["", "a\0b", &"x".repeat(4096)] {
        let error = read(&bytes(&[Frame::Link(facts(), name("a"), name(wrong))])).1;
        assert_eq!(error.as_deref(), Some("the stream has a link to nothing"));
    }
}

#[test]
fn attributes_of_the_kernel_are_refused() {
    for wrong in ["security.capability", "trusted.overlay.opaque", "system.posix_acl_access", "user.", "user"] {
        let error = read(&bytes(&[Frame::File(facts(), name("a")), Frame::Attribute(name(wrong), b"x")])).1;
        assert_eq!(error.as_deref(), Some("the stream has an attribute that is not the user's"), "{wrong}");
    }
}

#[test]
fn facts_that_are_none_are_refused() {
    let wrong = [
        Facts { mode: 0o10_000, ..facts() },
        Facts { uid: u32::MAX, ..facts() },
        Facts { gid: u32::MAX, ..facts() },
        Facts { accessed: (0, SECOND), ..facts() },
        Facts { modified: (0, u32::MAX), ..facts() },
    ];
    for facts in wrong {
        assert!(read(&bytes(&[Frame::File(facts, name("a"))])).1.is_some(), "{facts:?}");
    }
}

#[test]
fn frames_out_of_order_are_refused() {
    let file = Frame::File(facts(), name("a"));
    let directory = Frame::Directory(facts(), name("a"));
    let attribute = Frame::Attribute(name("user.x"), b"");
    let wrong: [&[Frame<'_>]; 12] = [
        &[Frame::Up],
        &[Frame::Done],
        &[Frame::End(0)],
        &[Frame::Data(0, b"x")],
        &[attribute],
        &[file, file],
        &[file, Frame::Up],
        &[file, Frame::Data(0, b""), attribute],
        &[file, Frame::End(0), file],
        &[directory, Frame::Up, directory],
        &[directory, Frame::Done],
        &[directory, file, Frame::End(0), attribute],
    ];
    for walk in wrong {
        let (frames, error) = read(&bytes(walk));
        assert_eq!((frames.len(), error.as_deref()), (walk.len() - 1, Some("the stream has a frame out of order")));
    }
    let deep: Vec<_> = std::iter::repeat_n(directory, DEEPEST + 1).collect();
    assert_eq!(read(&bytes(&deep)).0.len(), DEEPEST);
}

#[test]
fn sizes_that_no_file_has_are_refused() {
    let file = Frame::File(facts(), name("a"));
    let largest = i64::MAX.unsigned_abs();
    for wrong in [Frame::Data(u64::MAX, b"x"), Frame::Data(largest, b"x"), Frame::End(largest + 1)] {
        assert_eq!(read(&bytes(&[file, wrong])).0.len(), 1, "{wrong:?}");
    }
    assert_eq!(read(&bytes(&[file, Frame::Data(largest - 1, b"x"), Frame::End(largest)])).0.len(), 3);
    // More than is sent at once.
    assert_eq!(read(b"F\xff\xff\xff\xff").1.as_deref(), Some("the stream has a frame that is too long"));
    assert!(Frame::Data(0, &vec![0; LONGEST]).write(&mut Vec::new()).is_err());
}
