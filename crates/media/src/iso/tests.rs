//! What no tool makes.

use super::*;

/// A record of a directory with a name of Rock Ridge.
fn record(name: &[u8], sector: u32, length: u32, flags: u8) -> Vec<u8> {
    let mut record = vec![0; 34];
    record[2..6].copy_from_slice(&sector.to_le_bytes());
    record[10..14].copy_from_slice(&length.to_le_bytes());
    (record[25], record[32], record[33]) = (flags, 1, b'x');
    record.extend_from_slice(&[b'N', b'M', 5 + name.len() as u8, 1, 0]);
    record.extend_from_slice(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}

/// Directories from what is in them, by their first sectors: they follow one another from sector 18 on.
fn medium(directories: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut image = vec![0; 18 * SECTOR as usize];
    for (index, kind) in [(16, 1), (17, 255)] {
        let at = index * SECTOR as usize;
        image[at] = kind;
        image[at + 1..at + 6].copy_from_slice(b"CD001");
    }
    for (number, records) in directories.iter().enumerate() {
        let start = image.len();
        let mut own = record(b"", (start / SECTOR as usize) as u32, 0, record::DIRECTORY);
        own.truncate(34);
        own[33] = 0;
        // The mark of SUSP.
        own.extend_from_slice(&[b'S', b'P', 7, 1, 0xbe, 0xef, 0, 0]);
        own[0] = own.len() as u8;
        image.extend_from_slice(&own);
        for record in records {
            let left = SECTOR as usize - image.len() % SECTOR as usize;
            if left < record.len() {
                image.resize(image.len() + left, 0);
            }
            image.extend_from_slice(record);
        }
        image.resize(image.len().next_multiple_of(SECTOR as usize), 0);
        let length = (image.len() - start) as u32;
        image[start + 10..start + 14].copy_from_slice(&length.to_le_bytes());
        if number == 0 {
            let descriptor = 16 * SECTOR as usize;
            image[descriptor + 128..descriptor + 130].copy_from_slice(&(SECTOR as u16).to_le_bytes());
            image.copy_within(start..start + 34, descriptor + 156);
            image[descriptor + 156] = 34;
        }
    }
    image
}

/// Directories in one another, with names of 200 bytes, and so many files in the last one.
fn deep(levels: usize, files: usize) -> Vec<u8> {
    let file = record(b"f", 0, 0, 0);
    let last = (files * file.len()).div_ceil(2000) as u32 * 2048 + 2048;
    let mut directories: Vec<Vec<Vec<u8>>> = (1..=levels)
        .map(|level| {
            let length = if level == levels { last.next_multiple_of(2048) } else { 2048 };
            vec![record(&[b'n'; 200], 18 + level as u32, length, record::DIRECTORY)]
        })
        .collect();
    directories.push(vec![file; files]);
    let mut image = medium(&directories);
    image.resize((18 + levels) * 2048 + last as usize, 0);
    image
}

#[test]
fn paths_are_limited_alone_and_together() {
    let files = |image: &[u8]| Iso::open(image).expect("a medium").files();
    let found = files(&deep(20, 3)).expect("files");
    assert_eq!((found.len(), found[0].0.len()), (3, 20 * 201 + 1));
    assert!(matches!(files(&deep(21, 3)), Err(Error::Damaged("a path is too long"))));
    assert_eq!(files(&deep(20, 1000)).expect("files").len(), 1000);
    assert!(matches!(files(&deep(20, 20_000)), Err(Error::Damaged("it has too many names"))));
}

/// A record says that its name goes on elsewhere.
#[test]
fn names_are_no_longer_than_those_of_files() {
    let image = |length: usize| {
        let mut long = record(&[b'n'; 99], 0, 0, 0);
        let field = |value: u32| [value.to_le_bytes(), value.to_be_bytes()].concat();
        let entry = [b"CE".to_vec(), vec![28, 1], field(19), field(0), field(5 + length as u32)].concat();
        long.extend_from_slice(&entry);
        long[0] = long.len() as u8;
        let mut image = medium(&[vec![long]]);
        let name = [vec![b'N', b'M', 5 + length as u8, 1, 0], vec![b'm'; length]].concat();
        image.extend_from_slice(&name);
        image.resize(image.len().next_multiple_of(2048), 0);
        image
    };
    let names = |image: &[u8]| Iso::open(image).and_then(|iso| Ok(iso.files()?.remove(0).0.len()));
    assert_eq!(names(&image(156)).expect("a name"), 255);
    assert!(matches!(names(&image(157)), Err(Error::Damaged(_))));
}

/// The record of a file stands there thousands of times: its parts count, as what else there is does.
#[test]
fn parts_of_files_are_limited() {
    let whole = |parts: usize| {
        let mut directory = vec![record(b"f", 0, 1, 0x80); parts];
        directory.push(record(b"f", 0, 1, 0));
        medium(&[directory])
    };
    let files = |image: &[u8]| Iso::open(image).expect("a medium").files();
    assert_eq!(files(&whole(2000)).expect("files")[0].1.parts.len(), 2001);
    // The same directory again and again, each time from another sector on, which makes it another one.
    let again = |parts: usize| {
        let mut image = whole(parts);
        let sectors = (image.len() as u64 - 18 * SECTOR) / SECTOR;
        let directories = (1..sectors).map(|sector| {
            let length = (sectors - sector) * SECTOR;
            record(sector.to_string().as_bytes(), 18 + sector as u32, length as u32, record::DIRECTORY)
        });
        root(&mut image, directories.collect());
        (image, sectors)
    };
    let (image, sectors) = again(2000);
    assert_eq!(files(&image).expect("files").len() as u64, sectors - 1);
    assert!(matches!(files(&again(12_000).0), Err(Error::Damaged("it has too many names"))));
}

/// Directories of nothing that share their place.
#[test]
fn directories_are_limited_together() {
    let files = |count: u32| {
        let mut image = medium(&[]);
        image.resize(image.len() + (17 << 20), 0);
        let directories = (0..count).map(|number| {
            record(number.to_string().as_bytes(), 18 + number, LARGEST_DIRECTORY as u32, record::DIRECTORY)
        });
        root(&mut image, directories.collect());
        Iso::open(&image[..]).expect("a medium").files()
    };
    assert_eq!(files(8).expect("files"), []);
    assert!(matches!(files(64), Err(Error::Damaged("its directories are too large"))));
}

/// Gives a medium another root, behind all that it has.
fn root(image: &mut Vec<u8>, records: Vec<Vec<u8>>) {
    let extra = medium(&[records]);
    let start = image.len();
    image.extend_from_slice(&extra[18 * SECTOR as usize..]);
    let length = (image.len() - start) as u32;
    let descriptor = 16 * SECTOR as usize;
    image[descriptor..descriptor + SECTOR as usize].copy_from_slice(&extra[descriptor..descriptor + SECTOR as usize]);
    let record = descriptor + 156;
    image[record + 2..record + 6].copy_from_slice(&((start as u64 / SECTOR) as u32).to_le_bytes());
    image[record + 10..record + 14].copy_from_slice(&length.to_le_bytes());
}
