use super::*;

/// A member of an archive.
fn member(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A pax record of that length.
fn record(key: &str, length: usize) -> Vec<u8> {
    let mut record = format!("{length} {key}=").into_bytes();
    record.resize(length - 1, b'v');
    record.push(b'\n');
    record
}

#[test]
fn an_entry_may_have_one_description_of_each_kind_as_large_as_they_are() {
    let path = [b'p'; LONGEST_PATH as usize];
    let records = record("SCHILY.xattr.user.a", LARGEST_PAX as usize);
    let archive = [member(b'L', &path), member(b'K', &path), member(b'x', &records), member(b'0', b"content")];
    let archive = [archive.concat(), member(b'g', &record("comment", 100)), member(b'0', b"")].concat();
    let mut reader = TarReader::new(&*archive);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((entry.path.len(), entry.link.len(), entry.xattrs.len()), (4096, 4096, 1));
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"short");
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn descriptions_do_not_add_up_without_end() {
    let large = member(b'x', &record("SCHILY.xattr.user.a", LARGEST_PAX as usize));
    let archives = [
        large.repeat(3),
        member(b'x', &record("SCHILY.xattr.user.a", 100)).repeat(4200),
        member(b'L', b"name").repeat(4200),
        member(b'K', b"name").repeat(4200),
        member(b'g', &record("comment", 100)).repeat(4200),
        member(b'x', b"").repeat(5000),
    ];
    for archive in archives {
        let archive = [archive, member(b'0', b"content")].concat();
        let error = TarReader::new(&*archive).next_entry().unwrap_err();
        assert!(matches!(error, Error::Damaged("too much is said about one entry")), "{error}");
    }
}
