//! `org.freedesktop.machine1.Image`, see org.freedesktop.machine1(5).

#![allow(clippy::too_many_arguments, reason = "the interface has them, and zbus passes three of its own")]

use zbus::message::Header;
use zbus::{Connection, interface};

use super::face::Face;
use super::operation::{self, Fields};
use super::refusal::Refusal;
use crate::service::Service;

/// An image's object.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) face: Face,
    pub(super) name: String,
}

impl Image {
    /// Something of what is known of it now.
    async fn known<T: Send + 'static>(
        &self,
        of: impl FnOnce(image::pool::Image) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| service.image(&name).map(of)).await
    }
}

#[interface(name = "org.freedesktop.machine1.Image")]
impl Image {
    async fn remove(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::remove_image(service, asker, &name);
        self.face.run_for((connection, &header), work).await
    }

    async fn rename(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        new_name: String,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::rename_image(service, asker, &name, &new_name);
        self.face.run_for((connection, &header), work).await
    }

    async fn clone(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        new_name: String,
        read_only: bool,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work =
            move |service: &Service, asker: &_| operation::clone_image(service, asker, &name, (&new_name, read_only));
        self.face.run_for((connection, &header), work).await
    }

    async fn mark_read_only(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        read_only: bool,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::mark_image(service, asker, &name, read_only);
        self.face.run_for((connection, &header), work).await
    }

    async fn set_limit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        limit: u64,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::limit_image(service, asker, &name, limit);
        self.face.run_for((connection, &header), work).await
    }

    #[zbus(out_args("hostname"))]
    async fn get_hostname(&self) -> Result<String, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::image_hostname(service, &name)).await
    }

    #[zbus(name = "GetMachineID", out_args("machine_id"))]
    async fn get_machine_id(&self) -> Result<Vec<u8>, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::image_machine_id(service, &name)).await
    }

    #[zbus(out_args("machine_info"))]
    async fn get_machine_info(&self) -> Result<Fields, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::image_machine_info(service, &name)).await
    }

    #[zbus(name = "GetOSRelease", out_args("os_release"))]
    async fn get_os_release(&self) -> Result<Fields, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::image_os_release(service, &name)).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn name(&self) -> String {
        self.name.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn path(&self) -> Result<String, Refusal> {
        self.known(|image| image.path.to_string_lossy().into_owned()).await
    }

    #[zbus(property(emits_changed_signal = "false"), name = "Type")]
    async fn kind(&self) -> Result<String, Refusal> {
        self.known(|image| image.kind.name().to_owned()).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn read_only(&self) -> Result<bool, Refusal> {
        self.known(|image| image.read_only).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn creation_timestamp(&self) -> Result<u64, Refusal> {
        self.known(|image| image.created).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn modification_timestamp(&self) -> Result<u64, Refusal> {
        self.known(|image| image.modified).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn usage(&self) -> Result<u64, Refusal> {
        self.known(|image| image.usage).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn limit(&self) -> Result<u64, Refusal> {
        self.known(|image| image.limit).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn usage_exclusive(&self) -> Result<u64, Refusal> {
        self.known(|image| image.usage_exclusive).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn limit_exclusive(&self) -> Result<u64, Refusal> {
        self.known(|image| image.limit_exclusive).await
    }
}
