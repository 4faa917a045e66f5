//! Values of one kind each: sizes, shares, times, sets.

use super::PropertyValue;
use crate::CpuSet;

/// What is wrong with a value.
pub(crate) type Reason = &'static str;

/// No limit, or the default.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// A size: numbers with the suffixes K, M, G, T, P, E and powers of `base` between them; several of them are added, the
/// larger units first.
///
/// # Errors
/// What is wrong with it.
pub fn size(text: &str, base: u64) -> Result<u64, Reason> {
    const BAD: Reason = "it is no size such as 512M";
    const SUFFIXES: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    let mut rest = text.trim();
    let (mut total, mut above) = (0u64, SUFFIXES.len() + 1);
    if rest.is_empty() {
        return Err(BAD);
    }
    while !rest.is_empty() {
        let (whole, fraction, behind) = decimal(rest).ok_or(BAD)?;
        let behind = behind.trim_start();
        let unit = behind.chars().next().and_then(|c| SUFFIXES.iter().position(|suffix| *suffix == c));
        let (power, behind) = match unit {
            Some(at) => (at + 1, &behind[1..]),
            None => (0, behind.strip_prefix('B').unwrap_or(behind)),
        };
        if power >= above {
            return Err(BAD);
        }
        above = power;
        let factor = base.checked_pow(power as u32).ok_or(BAD)?;
        let part = whole.checked_mul(factor).ok_or("it is too large")?;
        let fraction = (u128::from(fraction.0) * u128::from(factor) / 10u128.pow(fraction.1)) as u64;
        total = total.checked_add(part).and_then(|sum| sum.checked_add(fraction)).ok_or("it is too large")?;
        rest = behind.trim_start();
    }
    Ok(total)
}

/// The whole and the fractional part (its digits and their number) of a number at the beginning, and what follows it.
fn decimal(text: &str) -> Option<(u64, (u64, u32), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, mut rest) = text.split_at(end);
    let whole = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let mut fraction = (0, 0);
    let mut given = !digits.is_empty();
    if let Some(behind) = rest.strip_prefix('.') {
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        given = given || end > 0;
        let kept = &behind[..end.min(12)];
        fraction = (if kept.is_empty() { 0 } else { kept.parse().ok()? }, kept.len() as u32);
        rest = &behind[end..];
    }
    given.then_some((whole, fraction, rest))
}

/// A number with at most two digits behind the point, in hundredths.
pub(super) fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction, rest) = decimal(text)?;
    let scaled = match fraction {
        (_, 3..) => return None,
        (digits, length) => digits * 10u64.pow(2 - length),
    };
    if rest.is_empty() && !text.ends_with('.') && !text.starts_with('.') {
        whole.checked_mul(100)?.checked_add(scaled)
    } else {
        None
    }
}

/// A share in ten thousandths: `%` with up to two digits behind the point, `‰` with one, `‱` with none. `None` if it is
/// nothing of that kind.
pub(super) fn permyriad(text: &str) -> Option<u64> {
    if let Some(number) = text.strip_suffix('%') {
        return hundredths(number);
    }
    if let Some(number) = text.strip_suffix('‰') {
        return hundredths(number).filter(|hundredths| hundredths % 10 == 0).map(|hundredths| hundredths / 10);
    }
    let number = text.strip_suffix('‱')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
}

/// A share of a whole, which is the highest 32-bit number.
pub(super) fn scale(permyriad: u64) -> u32 {
    ((permyriad * u64::from(u32::MAX) + 5000) / 10_000) as u32
}

/// A time span in microseconds, see systemd.time(7); without a unit it is seconds. `infinity` is the highest number.
///
/// # Errors
/// Why it is none.
pub fn time_span(text: &str) -> Result<u64, Reason> {
    const BAD: Reason = "it is no time span such as 90s or 5min 20s";
    let mut rest = text.trim();
    if rest == "infinity" {
        return Ok(UNLIMITED);
    }
    if rest.is_empty() {
        return Err(BAD);
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let (whole, fraction, behind) = decimal(rest).ok_or(BAD)?;
        let behind = behind.trim_start();
        let end = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let factor = time_unit(unit).ok_or(BAD)?;
        let part = whole.checked_mul(factor).ok_or("it is too long")?;
        let fraction = (u128::from(fraction.0) * u128::from(factor) / 10u128.pow(fraction.1)) as u64;
        total = total.checked_add(part).and_then(|sum| sum.checked_add(fraction)).ok_or("it is too long")?;
        rest = behind.trim_start();
    }
    Ok(total)
}

fn time_unit(unit: &str) -> Option<u64> {
    const SECOND: u64 = 1_000_000;
    const DAY: u64 = 24 * 60 * 60 * SECOND;
    Some(match unit {
        "us" | "usec" | "µs" | "μs" => 1,
        "ms" | "msec" => 1000,
        "" | "s" | "sec" | "second" | "seconds" => SECOND,
        "m" | "min" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hour" | "hours" => 60 * 60 * SECOND,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        // 30.44 days.
        "M" | "month" | "months" => 2_629_800 * SECOND,
        // 365.25 days.
        "y" | "year" | "years" => 31_557_600 * SECOND,
        _ => return None,
    })
}

/// A number between these two, both included; empty is the default.
pub(super) fn between(text: &str, low: u64, high: u64) -> Result<u64, Reason> {
    if text.is_empty() {
        return Ok(UNLIMITED);
    }
    let number = whole(text)?;
    if (low..=high).contains(&number) { Ok(number) } else { Err("it is out of range") }
}

/// A number without a sign.
pub(super) fn whole(text: &str) -> Result<u64, Reason> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or("it is no number")
}

/// A set of processors or memory nodes; empty is no restriction.
pub(super) fn set(text: &str) -> Result<PropertyValue, Reason> {
    let mut bits = Vec::new();
    if !text.trim().is_empty() {
        let set: CpuSet = text.parse().map_err(|_| "it is no list of numbers such as 0,2-3")?;
        for number in set.cpus() {
            let at = *number as usize / 8;
            if bits.len() <= at {
                bits.resize(at + 1, 0u8);
            }
            bits[at] |= 1 << (number % 8);
        }
    }
    Ok(PropertyValue::Bits(bits))
}

/// A path and a word behind a space; `None` for an empty value, which takes all earlier ones back.
pub(super) fn path_and(text: &str) -> Result<Option<(String, &str)>, Reason> {
    if text.is_empty() {
        return Ok(None);
    }
    let (path, word) = text.rsplit_once(' ').ok_or("it is no path and value with a space between them")?;
    let path = path.trim_end();
    if !path.starts_with('/') {
        return Err("it does not begin with an absolute path");
    }
    Ok(Some((path.to_owned(), word)))
}

/// A device's node or the pattern of a group of devices, and what may be done with it.
pub(super) fn device(text: &str) -> Result<PropertyValue, Reason> {
    if text.is_empty() {
        return Ok(PropertyValue::Pairs(Vec::new()));
    }
    let (node, rights) = text.split_once(' ').unwrap_or((text, ""));
    let group = ["block-", "char-"].iter().any(|prefix| node.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
    let under = |directory: &str| node.strip_prefix(directory).is_some_and(|rest| !rest.is_empty());
    let path = (under("/dev/") || under("/run/systemd/inaccessible/"))
        && !node.split('/').any(|part| matches!(part, "." | ".."));
    if !group && !path {
        return Err("it begins with none of /dev/, char- and block-");
    }
    if !rights.bytes().all(|byte| matches!(byte, b'r' | b'w' | b'm')) {
        return Err("what may be done is none of the letters r, w and m");
    }
    Ok(PropertyValue::Pairs(vec![(node.to_owned(), rights.to_owned())]))
}

/// Words, with quotes as in unit files.
pub(super) fn words(text: &str) -> Result<Vec<String>, Reason> {
    let mut all: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => {
                let next = characters.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            c if quote == Some(c) => quote = None,
            ' ' | '\t' | '\n' | '\r' if quote.is_none() => all.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote does not end");
    }
    all.extend(word);
    Ok(all)
}
