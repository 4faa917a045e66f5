//! Bringing together what several files say of the same certificate: nothing is lost, so that a revocation in one of
//! them counts whatever the others hold.

use std::collections::HashMap;

use pgp::composed::SignedPublicKey;
use pgp::types::{Fingerprint, KeyDetails};

/// Adds certificates to others.
pub(super) fn add(into: &mut Vec<SignedPublicKey>, certificates: Vec<SignedPublicKey>) {
    let mut places: HashMap<Fingerprint, usize> =
        into.iter().enumerate().map(|(place, known)| (known.primary_key.fingerprint(), place)).collect();
    for certificate in certificates {
        match places.get(&certificate.primary_key.fingerprint()) {
            Some(place) => merge(&mut into[*place], certificate),
            None => {
                places.insert(certificate.primary_key.fingerprint(), into.len());
                into.push(certificate);
            }
        }
    }
}

fn merge(into: &mut SignedPublicKey, from: SignedPublicKey) {
    let details = &mut into.details;
    unite(&mut details.revocation_signatures, from.details.revocation_signatures);
    unite(&mut details.direct_signatures, from.details.direct_signatures);
    for user in from.details.users {
        match details.users.iter_mut().find(|known| known.id.id() == user.id.id()) {
            Some(known) => unite(&mut known.signatures, user.signatures),
            None => details.users.push(user),
        }
    }
    for subkey in from.public_subkeys {
        let fingerprint = subkey.key.fingerprint();
        match into.public_subkeys.iter_mut().find(|known| known.key.fingerprint() == fingerprint) {
            Some(known) => unite(&mut known.signatures, subkey.signatures),
            None => into.public_subkeys.push(subkey),
        }
    }
}

fn unite<T: PartialEq>(into: &mut Vec<T>, from: Vec<T>) {
    for element in from {
        if !into.contains(&element) {
            into.push(element);
        }
    }
}
