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

#[test]
fn a_size_that_has_no_place_in_the_header_is_the_one_of_the_records() {
    let said = |size: u64| {
        let record = format!("size={size}\n");
        let length = record.len() + 3;
        member(b'x', format!("{length} {record}").as_bytes())
    };
    // The header of a file of 9 GiB, and the beginning of that.
    let size = 9 << 30;
    let archive = [said(size), member(b'0', b"")].concat();
    let mut reader = TarReader::new(archive.chain(io::repeat(b'x')));
    assert_eq!(reader.next_entry().unwrap().unwrap().size, size);
    let mut content = [0; 1000];
    reader.read_exact(&mut content).unwrap();
    assert_eq!(content, [b'x'; 1000]);
    // What follows is found.
    let archive = [said(600), member(b'0', b""), vec![b'x'; 1024], member(b'0', b"")].concat();
    let mut reader = TarReader::new(&*archive);
    assert_eq!(reader.next_entry().unwrap().unwrap().size, 600);
    assert_eq!(reader.next_entry().unwrap().unwrap().size, 0);
    assert!(reader.next_entry().unwrap().is_none());
    let archive = [said(7), member(b'0', b"content")].concat();
    assert_eq!(TarReader::new(&*archive).next_entry().unwrap().unwrap().size, 7);
    let archive = [said(8), member(b'0', b"content")].concat();
    let error = TarReader::new(&*archive).next_entry().unwrap_err();
    assert!(matches!(error, Error::Damaged("the two sizes of a file differ")), "{error}");
}

#[test]
fn archives_with_sparse_files_are_not_called_damaged() {
    let modern = [member(b'x', b"22 GNU.sparse.major=1\n"), member(b'0', b"")].concat();
    for archive in [modern, member(b'S', b"")] {
        let error = TarReader::new(&*archive).next_entry().unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        assert_eq!(error.to_string(), "the archive has files with holes (tar --sparse), which are not unpacked");
    }
}
