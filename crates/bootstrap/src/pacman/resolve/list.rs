//! Packages in an order, by what they are called and provide.

use std::collections::HashMap;

use super::super::dependency::Dependency;
use super::super::package::Package;

/// Packages in an order.
#[derive(Debug)]
pub(super) struct List<'a, T> {
    items: Vec<&'a T>,
    /// Where those are that are called so or provide it.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a, T: AsRef<Package>> List<'a, T> {
    pub(super) fn new(items: impl IntoIterator<Item = &'a T>) -> Self {
        let mut list = Self { items: Vec::new(), places: HashMap::new() };
        items.into_iter().for_each(|item| list.push(item));
        list
    }

    pub(super) fn items(&self) -> &[&'a T] {
        &self.items
    }

    pub(super) fn push(&mut self, item: &'a T) {
        let place = self.items.len();
        for name in names(item.as_ref()) {
            let places = self.places.entry(name).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        self.items.push(item);
    }

    /// Takes away all but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        for item in self.items.drain(length.min(self.items.len())..) {
            for name in names(item.as_ref()) {
                if let Some(places) = self.places.get_mut(name) {
                    places.retain(|place| *place < length);
                }
            }
        }
    }

    /// The places of all that meet a dependency, in order.
    pub(super) fn satisfying(&self, dependency: &Dependency) -> impl Iterator<Item = usize> {
        let places = self.places.get(dependency.name.as_str()).map_or(&[][..], Vec::as_slice);
        places.iter().copied().filter(|place| self.items[*place].as_ref().meets(dependency))
    }

    /// The first that meets a dependency.
    pub(super) fn satisfier(&self, dependency: &Dependency) -> Option<&'a T> {
        self.satisfying(dependency).next().map(|place| self.items[place])
    }

    /// The package of that name.
    pub(super) fn named(&self, name: &str) -> Option<&'a T> {
        let places = self.places.get(name)?;
        places.iter().map(|place| self.items[*place]).find(|item| item.as_ref().name == name)
    }
}

/// What a package is called and provides.
fn names(package: &Package) -> impl Iterator<Item = &str> {
    std::iter::once(package.name.as_str()).chain(package.provides.iter().map(|provision| provision.name.as_str()))
}
