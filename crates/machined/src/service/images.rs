//! The images that are installed, see machinectl(1).

use image::pool::{Clean, Cleaned, Image, Metadata, Usage};

use super::{Error, Service};

impl Service {
    /// All images by name, hidden ones and the host's own among them.
    ///
    /// # Errors
    /// Those of the directories.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.pool.list()?)
    }

    /// The image of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Invalid`].
    pub fn image(&self, name: &str) -> Result<Image, Error> {
        Ok(self.pool.find(name)?)
    }

    /// What an image says of itself.
    ///
    /// # Errors
    /// [`Error::Image`] where it cannot be read.
    pub fn metadata(&self, image: &Image) -> Result<Metadata, Error> {
        let _operation = self.operation()?;
        Ok(self.pool.metadata(image)?)
    }

    /// Makes an image from another one; complete or not at all.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::TooManyOperations`], [`Error::Image`].
    pub fn clone_image(&self, name: &str, new: &str, read_only: bool) -> Result<(), Error> {
        let _operation = self.operation()?;
        self.pool.clone_image(&self.image(name)?, new, read_only, &mut |_| true)?;
        Ok(())
    }

    /// Removes an image with its settings files.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::TooManyOperations`], [`Error::Image`].
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let _operation = self.operation()?;
        Ok(self.pool.remove(&self.image(name)?)?)
    }

    /// Renames an image with its settings files.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Image`].
    pub fn rename_image(&self, name: &str, new: &str) -> Result<(), Error> {
        Ok(self.pool.rename(&self.image(name)?, new)?)
    }

    /// Makes an image read-only, or writable again.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Image`].
    pub fn mark_image(&self, name: &str, read_only: bool) -> Result<(), Error> {
        Ok(self.pool.mark_read_only(&self.image(name)?, read_only)?)
    }

    /// Limits the space of an image, in bytes; none takes the limit away.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Image`].
    pub fn limit_image(&self, name: &str, limit: Option<u64>) -> Result<(), Error> {
        Ok(self.pool.set_limit(&self.image(name)?, limit)?)
    }

    /// Limits the space of all images together.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn limit_pool(&self, limit: Option<u64>) -> Result<(), Error> {
        Ok(self.pool.set_pool_limit(limit)?)
    }

    /// Where new images are made, and what all there take.
    #[must_use]
    pub fn pool_usage(&self) -> (String, Usage) {
        (self.pool.path().to_string_lossy().into_owned(), self.pool.usage())
    }

    /// Removes hidden images, or all.
    ///
    /// # Errors
    /// [`Error::TooManyOperations`], [`Error::Image`].
    pub fn clean_pool(&self, which: Clean) -> Result<Cleaned, Error> {
        let _operation = self.operation()?;
        Ok(self.pool.clean(which)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said_so() {
        let service = Service::system();
        let name = "machined-no-such-image";
        assert!(matches!(service.image(name), Err(Error::NoSuchImage(_))));
        assert!(matches!(service.image("a/b"), Err(Error::Invalid { parameter: "name", .. })));
        assert!(matches!(service.clone_image(name, "x", false), Err(Error::NoSuchImage(_))));
        assert!(matches!(service.remove_image(name), Err(Error::NoSuchImage(_))));
        assert!(matches!(service.rename_image(name, "x"), Err(Error::NoSuchImage(_))));
        assert!(matches!(service.mark_image(name, true), Err(Error::NoSuchImage(_))));
        assert!(matches!(service.limit_image(name, None), Err(Error::NoSuchImage(_))));
        assert_eq!(service.operations(), 0);
    }
}
