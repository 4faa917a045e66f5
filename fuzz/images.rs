// What is done with disk images, which anybody may have made. Shared by the fuzz target and by the test that replays the
// seeds.

use image::disk::dissect;

/// An image as it is, and with the checksums that its tables should have: nothing else is behind them to be found.
pub(crate) fn gpt(data: &[u8]) {
    check(data);
    let mut mended = data.to_vec();
    for place in [512, data.len().saturating_sub(512) / 512 * 512] {
        mend(&mut mended, place);
    }
    check(&mended);
}

/// Whatever is used lies inside the image, and no byte is used twice.
fn check(data: &[u8]) {
    let Ok(layout) = dissect(data, &["x86-64", "x86"]) else { return };
    assert!(!layout.parts.is_empty());
    let mut ranges: Vec<_> = layout.parts.iter().map(|part| (part.offset, part.offset + part.size)).collect();
    ranges.sort_unstable();
    assert!(ranges.iter().all(|(start, end)| start < end && *end <= data.len() as u64));
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
}

fn mend(image: &mut [u8], place: usize) -> Option<()> {
    let number = |image: &[u8], at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if !image.get(place..)?.starts_with(b"EFI PART") {
        return None;
    }
    let start = number(image, place + 72)?.checked_mul(512)?;
    let length = number(image, place + 80)?.checked_mul(number(image, place + 84)?)?;
    let entries = crc32(image.get(start..start.checked_add(length)?)?);
    image.get_mut(place + 88..place + 92)?.copy_from_slice(&entries.to_le_bytes());
    image.get_mut(place + 16..place + 20)?.fill(0);
    let size = number(image, place + 12)?;
    let header = crc32(image.get(place..place.checked_add(size)?)?);
    image.get_mut(place + 16..place + 20)?.copy_from_slice(&header.to_le_bytes());
    Some(())
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 })
    })
}
