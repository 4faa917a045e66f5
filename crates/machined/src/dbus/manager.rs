//! `org.freedesktop.machine1.Manager`, see org.freedesktop.machine1(5).

#![allow(clippy::too_many_arguments, reason = "the interface has them, and zbus passes three of its own")]

use image::pool::Image;
use machine::state::State;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, ObjectServer, OwnedFd, OwnedObjectPath, OwnedVariant, interface};

use super::face::Face;
use super::operation::{self, Fields};
use super::refusal::Refusal;
use super::registration::{self, Told};
use super::{objects, path};
use crate::service::terminals::Wanted;
use crate::service::users::Kind;
use crate::service::{Error, Service, Which};

/// The manager's object.
#[derive(Clone, Debug)]
pub(super) struct Manager(pub(super) Face);

/// Name, type, whether it is read-only, times of creation and change, space, object.
type ListedImage = (String, String, bool, u64, u64, u64, OwnedObjectPath);
/// Name, class, service, object.
type ListedMachine = (String, String, String, OwnedObjectPath);
/// Properties with their names.
type Properties = Vec<(String, OwnedVariant)>;

impl Manager {
    async fn found(&self, server: &ObjectServer, which: Which) -> Result<OwnedObjectPath, Refusal> {
        let state = self.0.run(move |service| service.machine(&which)).await?;
        objects::show_machine(server, &self.0, &state.name).await
    }

    async fn map_to(
        &self,
        server: &ObjectServer,
        kind: Kind,
        id: u32,
    ) -> Result<(String, OwnedObjectPath, u32), Refusal> {
        let (state, inside) = self.0.run(move |service| service.map_to(kind, id)).await?;
        let path = objects::show_machine(server, &self.0, &state.name).await?;
        Ok((state.name, path, inside))
    }

    async fn register(
        &self,
        (connection, header): (&Connection, &Header<'_>),
        server: &ObjectServer,
        told: Told,
    ) -> Result<OwnedObjectPath, Refusal> {
        let enter = move |service: &Service, asker: &operation::Asker| {
            let registration = told.registration;
            asker.may_register(&registration.name, registration.class, registration.unit.is_some())?;
            service.register(registration, &asker.caller)
        };
        let state: State = self.0.run_for((connection, header), enter).await?;
        objects::show_machine(server, &self.0, &state.name).await
    }
}

fn listed(image: Image) -> ListedImage {
    let path = path::of_image(&image.name);
    let kind = image.kind.name().to_owned();
    (image.name, kind, image.read_only, image.created, image.modified, image.usage, path)
}

#[interface(name = "org.freedesktop.machine1.Manager")]
impl Manager {
    #[zbus(out_args("machine"))]
    async fn get_machine(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
    ) -> Result<OwnedObjectPath, Refusal> {
        self.found(server, Which::Name(name)).await
    }

    #[zbus(out_args("image"))]
    async fn get_image(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
    ) -> Result<OwnedObjectPath, Refusal> {
        let image = self.0.run(move |service| service.image(&name)).await?;
        objects::show_image(server, &self.0, &image.name).await
    }

    #[zbus(name = "GetMachineByPID", out_args("machine"))]
    async fn get_machine_by_pid(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        pid: u32,
    ) -> Result<OwnedObjectPath, Refusal> {
        let find = move |service: &Service, asker: &operation::Asker| {
            // The number 0 is the caller's own.
            let pid = if pid == 0 { asker.caller.pid() } else { i32::try_from(pid).unwrap_or(0) };
            service.machine(&Which::Process(pid))
        };
        let state = self.0.run_for((connection, &header), find).await?;
        objects::show_machine(server, &self.0, &state.name).await
    }

    #[zbus(out_args("machines"))]
    async fn list_machines(&self, #[zbus(object_server)] server: &ObjectServer) -> Result<Vec<ListedMachine>, Refusal> {
        let mut all = Vec::new();
        for state in self.0.run(Service::machines).await? {
            let path = objects::show_machine(server, &self.0, &state.name).await?;
            all.push((state.name, state.class.name().to_owned(), state.service.unwrap_or_default(), path));
        }
        Ok(all)
    }

    #[zbus(out_args("images"))]
    async fn list_images(&self, #[zbus(object_server)] server: &ObjectServer) -> Result<Vec<ListedImage>, Refusal> {
        let images = self.0.run(Service::images).await?;
        objects::show_images(server, &self.0, &images).await?;
        Ok(images.into_iter().map(listed).collect())
    }

    #[zbus(out_args("path"))]
    async fn create_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        id: Vec<u8>,
        service: String,
        class: String,
        leader: u32,
        root_directory: String,
        scope_properties: Properties,
    ) -> Result<OwnedObjectPath, Refusal> {
        let mut told = Told::new(name, (&id, service, &class), leader, root_directory)?;
        told.with_unit(scope_properties)?;
        self.register((connection, &header), server, told).await
    }

    #[zbus(out_args("path"))]
    async fn create_machine_with_network(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        id: Vec<u8>,
        service: String,
        class: String,
        leader: u32,
        root_directory: String,
        ifindices: Vec<i32>,
        scope_properties: Properties,
    ) -> Result<OwnedObjectPath, Refusal> {
        let mut told = Told::new(name, (&id, service, &class), leader, root_directory)?;
        told.registration.network_interfaces = ifindices;
        told.with_unit(scope_properties)?;
        self.register((connection, &header), server, told).await
    }

    #[zbus(out_args("path"))]
    async fn create_machine_ex(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        properties: Properties,
        scope_properties: Properties,
    ) -> Result<OwnedObjectPath, Refusal> {
        let mut told = registration::of_properties(name, properties)?;
        told.with_unit(scope_properties)?;
        self.register((connection, &header), server, told).await
    }

    #[zbus(out_args("path"))]
    async fn register_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        id: Vec<u8>,
        service: String,
        class: String,
        leader: u32,
        root_directory: String,
    ) -> Result<OwnedObjectPath, Refusal> {
        let told = Told::new(name, (&id, service, &class), leader, root_directory)?;
        self.register((connection, &header), server, told).await
    }

    #[zbus(out_args("path"))]
    async fn register_machine_with_network(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        id: Vec<u8>,
        service: String,
        class: String,
        leader: u32,
        root_directory: String,
        ifindices: Vec<i32>,
    ) -> Result<OwnedObjectPath, Refusal> {
        let mut told = Told::new(name, (&id, service, &class), leader, root_directory)?;
        told.registration.network_interfaces = ifindices;
        self.register((connection, &header), server, told).await
    }

    #[zbus(out_args("path"))]
    async fn register_machine_ex(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        name: String,
        properties: Properties,
    ) -> Result<OwnedObjectPath, Refusal> {
        let told = registration::of_properties(name, properties)?;
        self.register((connection, &header), server, told).await
    }

    async fn unregister_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::unregister(service, asker, &name);
        self.0.run_for((connection, &header), work).await
    }

    async fn terminate_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: String,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::terminate(service, asker, &id);
        self.0.run_for((connection, &header), work).await
    }

    async fn kill_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        whom: String,
        signal: i32,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::kill(service, asker, &name, (&whom, signal));
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("addresses"))]
    async fn get_machine_addresses(&self, name: String) -> Result<Vec<(i32, Vec<u8>)>, Refusal> {
        self.0.run(move |service| operation::addresses(service, &name)).await
    }

    #[zbus(name = "GetMachineSSHInfo", out_args("ssh_address", "ssh_private_key_path"))]
    async fn get_machine_ssh_info(&self, name: String) -> Result<(String, String), Refusal> {
        self.0.run(move |service| operation::ssh(service, &name)).await
    }

    #[zbus(name = "GetMachineOSRelease", out_args("fields"))]
    async fn get_machine_os_release(&self, name: String) -> Result<Fields, Refusal> {
        self.0.run(move |service| operation::os_release(service, &name)).await
    }

    #[zbus(name = "OpenMachinePTY", out_args("pty", "pty_path"))]
    async fn open_machine_pty(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(OwnedFd, String), Refusal> {
        let work = move |service: &Service, asker: &_| operation::open(service, asker, &name, Wanted::Terminal);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("pty", "pty_path"))]
    async fn open_machine_login(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(OwnedFd, String), Refusal> {
        let work = move |service: &Service, asker: &_| operation::open(service, asker, &name, Wanted::Login);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("pty", "pty_path"))]
    async fn open_machine_shell(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        user: String,
        path: String,
        args: Vec<String>,
        environment: Vec<String>,
    ) -> Result<(OwnedFd, String), Refusal> {
        let wanted = operation::shell((user, path, args, environment))?;
        let work = move |service: &Service, asker: &_| operation::open(service, asker, &name, wanted);
        self.0.run_for((connection, &header), work).await
    }

    async fn bind_mount_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        source: String,
        destination: String,
        read_only: bool,
        mkdir: bool,
    ) -> Result<(), Refusal> {
        let bind = operation::Bind::new((source, destination), read_only, mkdir);
        let work = move |service: &Service, asker: &_| operation::bind(service, asker, &name, bind);
        self.0.run_for((connection, &header), work).await
    }

    async fn copy_from_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        source: String,
        destination: String,
    ) -> Result<(), Refusal> {
        let copy = operation::Copy::from(source, destination, 0)?;
        let work = move |service: &Service, asker: &_| operation::copy(service, asker, &name, copy);
        self.0.run_for((connection, &header), work).await
    }

    async fn copy_to_machine(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        source: String,
        destination: String,
    ) -> Result<(), Refusal> {
        let copy = operation::Copy::to(source, destination, 0)?;
        let work = move |service: &Service, asker: &_| operation::copy(service, asker, &name, copy);
        self.0.run_for((connection, &header), work).await
    }

    async fn copy_from_machine_with_flags(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        source: String,
        destination: String,
        flags: u64,
    ) -> Result<(), Refusal> {
        let copy = operation::Copy::from(source, destination, flags)?;
        let work = move |service: &Service, asker: &_| operation::copy(service, asker, &name, copy);
        self.0.run_for((connection, &header), work).await
    }

    async fn copy_to_machine_with_flags(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        source: String,
        destination: String,
        flags: u64,
    ) -> Result<(), Refusal> {
        let copy = operation::Copy::to(source, destination, flags)?;
        let work = move |service: &Service, asker: &_| operation::copy(service, asker, &name, copy);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("fd"))]
    async fn open_machine_root_directory(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<OwnedFd, Refusal> {
        let work = move |service: &Service, asker: &_| operation::root_directory(service, asker, &name);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(name = "GetMachineUIDShift", out_args("shift"))]
    async fn get_machine_uid_shift(&self, name: String) -> Result<u32, Refusal> {
        self.0.run(move |service| operation::uid_shift(service, &name)).await
    }

    async fn remove_image(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::remove_image(service, asker, &name);
        self.0.run_for((connection, &header), work).await
    }

    async fn rename_image(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        new_name: String,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::rename_image(service, asker, &name, &new_name);
        self.0.run_for((connection, &header), work).await
    }

    async fn clone_image(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        new_name: String,
        read_only: bool,
    ) -> Result<(), Refusal> {
        let work =
            move |service: &Service, asker: &_| operation::clone_image(service, asker, &name, (&new_name, read_only));
        self.0.run_for((connection, &header), work).await
    }

    async fn mark_image_read_only(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        read_only: bool,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::mark_image(service, asker, &name, read_only);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("hostname"))]
    async fn get_image_hostname(&self, name: String) -> Result<String, Refusal> {
        self.0.run(move |service| operation::image_hostname(service, &name)).await
    }

    #[zbus(name = "GetImageMachineID", out_args("id"))]
    async fn get_image_machine_id(&self, name: String) -> Result<Vec<u8>, Refusal> {
        self.0.run(move |service| operation::image_machine_id(service, &name)).await
    }

    #[zbus(out_args("machine_info"))]
    async fn get_image_machine_info(&self, name: String) -> Result<Fields, Refusal> {
        self.0.run(move |service| operation::image_machine_info(service, &name)).await
    }

    #[zbus(name = "GetImageOSRelease", out_args("os_release"))]
    async fn get_image_os_release(&self, name: String) -> Result<Fields, Refusal> {
        self.0.run(move |service| operation::image_os_release(service, &name)).await
    }

    async fn set_pool_limit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        size: u64,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::limit_pool(service, asker, size);
        self.0.run_for((connection, &header), work).await
    }

    async fn set_image_limit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        size: u64,
    ) -> Result<(), Refusal> {
        let work = move |service: &Service, asker: &_| operation::limit_image(service, asker, &name, size);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("images"))]
    async fn clean_pool(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        mode: String,
    ) -> Result<Vec<(String, u64)>, Refusal> {
        let work = move |service: &Service, asker: &_| operation::clean_pool(service, asker, &mode);
        self.0.run_for((connection, &header), work).await
    }

    #[zbus(out_args("uid_outer"))]
    async fn map_from_machine_user(&self, name: String, uid_inner: u32) -> Result<u32, Refusal> {
        let map =
            move |service: &Service| service.map_from(&operation::machine(service, &name)?, Kind::User, uid_inner);
        self.0.run(map).await
    }

    #[zbus(out_args("machine_name", "machine_path", "uid_inner"))]
    async fn map_to_machine_user(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        uid_outer: u32,
    ) -> Result<(String, OwnedObjectPath, u32), Refusal> {
        self.map_to(server, Kind::User, uid_outer).await
    }

    #[zbus(out_args("gid_outer"))]
    async fn map_from_machine_group(&self, name: String, gid_inner: u32) -> Result<u32, Refusal> {
        let map =
            move |service: &Service| service.map_from(&operation::machine(service, &name)?, Kind::Group, gid_inner);
        self.0.run(map).await
    }

    #[zbus(out_args("machine_name", "machine_path", "gid_inner"))]
    async fn map_to_machine_group(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        gid_outer: u32,
    ) -> Result<(String, OwnedObjectPath, u32), Refusal> {
        self.map_to(server, Kind::Group, gid_outer).await
    }

    #[zbus(signal)]
    pub(super) async fn machine_new(
        emitter: &SignalEmitter<'_>,
        machine: &str,
        path: ObjectPath<'_>,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn machine_removed(
        emitter: &SignalEmitter<'_>,
        machine: &str,
        path: ObjectPath<'_>,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "false"))]
    async fn pool_path(&self) -> Result<String, Refusal> {
        self.0.run(|service| Ok::<_, Error>(service.pool_usage().0)).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn pool_usage(&self) -> Result<u64, Refusal> {
        self.0.run(|service| Ok::<_, Error>(service.pool_usage().1.usage)).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn pool_limit(&self) -> Result<u64, Refusal> {
        self.0.run(|service| Ok::<_, Error>(service.pool_usage().1.limit)).await
    }
}
