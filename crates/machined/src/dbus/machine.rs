//! `org.freedesktop.machine1.Machine`, see org.freedesktop.machine1(5).

#![allow(clippy::too_many_arguments, reason = "the interface has them, and zbus passes three of its own")]

use machine::machines::ANY_CID;
use machine::state::State;
use uuid::Uuid;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::face::Face;
use super::operation::{self, Fields};
use super::refusal::Refusal;
use crate::service::Service;
use crate::service::terminals::Wanted;

/// A machine's object.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) face: Face,
    pub(super) name: String,
}

impl Machine {
    /// Something of what is known of it now.
    async fn known<T: Send + 'static>(&self, of: impl FnOnce(State) -> T + Send + 'static) -> Result<T, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::machine(service, &name).map(of)).await
    }

    async fn copied(&self, caller: (&Connection, &Header<'_>), copy: operation::Copy) -> Result<(), Refusal> {
        let name = self.name.clone();
        self.face.run_for(caller, move |service, asker| operation::copy(service, asker, &name, copy)).await
    }

    async fn opened(&self, caller: (&Connection, &Header<'_>), wanted: Wanted) -> Result<(OwnedFd, String), Refusal> {
        let name = self.name.clone();
        self.face.run_for(caller, move |service, asker| operation::open(service, asker, &name, wanted)).await
    }
}

#[interface(name = "org.freedesktop.machine1.Machine")]
impl Machine {
    async fn terminate(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::terminate(service, asker, &name);
        self.face.run_for((connection, &header), work).await
    }

    async fn kill(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        whom: String,
        signal: i32,
    ) -> Result<(), Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::kill(service, asker, &name, (&whom, signal));
        self.face.run_for((connection, &header), work).await
    }

    #[zbus(out_args("addresses"))]
    async fn get_addresses(&self) -> Result<Vec<(i32, Vec<u8>)>, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::addresses(service, &name)).await
    }

    #[zbus(name = "GetSSHInfo", out_args("ssh_address", "ssh_private_key_path"))]
    async fn get_ssh_info(&self) -> Result<(String, String), Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::ssh(service, &name)).await
    }

    #[zbus(name = "GetOSRelease", out_args("fields"))]
    async fn get_os_release(&self) -> Result<Fields, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::os_release(service, &name)).await
    }

    #[zbus(name = "GetUIDShift", out_args("shift"))]
    async fn get_uid_shift(&self) -> Result<u32, Refusal> {
        let name = self.name.clone();
        self.face.run(move |service| operation::uid_shift(service, &name)).await
    }

    #[zbus(name = "OpenPTY", out_args("pty", "pty_path"))]
    async fn open_pty(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(OwnedFd, String), Refusal> {
        self.opened((connection, &header), Wanted::Terminal).await
    }

    #[zbus(out_args("pty", "pty_path"))]
    async fn open_login(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(OwnedFd, String), Refusal> {
        self.opened((connection, &header), Wanted::Login).await
    }

    #[zbus(out_args("pty", "pty_path"))]
    async fn open_shell(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: String,
        path: String,
        args: Vec<String>,
        environment: Vec<String>,
    ) -> Result<(OwnedFd, String), Refusal> {
        let wanted = operation::shell((user, path, args, environment))?;
        self.opened((connection, &header), wanted).await
    }

    async fn bind_mount(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        source: String,
        destination: String,
        read_only: bool,
        mkdir: bool,
    ) -> Result<(), Refusal> {
        let bind = operation::Bind::new((source, destination), read_only, mkdir);
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::bind(service, asker, &name, bind);
        self.face.run_for((connection, &header), work).await
    }

    async fn copy_from(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        source: String,
        destination: String,
    ) -> Result<(), Refusal> {
        self.copied((connection, &header), operation::Copy::from(source, destination, 0)?).await
    }

    async fn copy_to(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        source: String,
        destination: String,
    ) -> Result<(), Refusal> {
        self.copied((connection, &header), operation::Copy::to(source, destination, 0)?).await
    }

    async fn copy_from_with_flags(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        source: String,
        destination: String,
        flags: u64,
    ) -> Result<(), Refusal> {
        self.copied((connection, &header), operation::Copy::from(source, destination, flags)?).await
    }

    async fn copy_to_with_flags(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        source: String,
        destination: String,
        flags: u64,
    ) -> Result<(), Refusal> {
        self.copied((connection, &header), operation::Copy::to(source, destination, flags)?).await
    }

    #[zbus(out_args("fd"))]
    async fn open_root_directory(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedFd, Refusal> {
        let name = self.name.clone();
        let work = move |service: &Service, asker: &_| operation::root_directory(service, asker, &name);
        self.face.run_for((connection, &header), work).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn name(&self) -> String {
        self.name.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn id(&self) -> Result<Vec<u8>, Refusal> {
        self.known(|state| state.id.unwrap_or(Uuid::nil()).as_bytes().to_vec()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn timestamp(&self) -> Result<u64, Refusal> {
        self.known(|state| state.timestamp.realtime).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn timestamp_monotonic(&self) -> Result<u64, Refusal> {
        self.known(|state| state.timestamp.monotonic).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn service(&self) -> Result<String, Refusal> {
        self.known(|state| state.service.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn unit(&self) -> Result<String, Refusal> {
        self.known(|state| state.unit.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn subgroup(&self) -> Result<String, Refusal> {
        self.known(|state| state.subgroup.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn leader(&self) -> Result<u32, Refusal> {
        self.known(|state| state.leader.pid.unsigned_abs()).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "LeaderPIDFDId")]
    async fn leader_pidfd_id(&self) -> Result<u64, Refusal> {
        self.known(|state| state.leader.pidfd_id.unwrap_or(0)).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn supervisor(&self) -> Result<u32, Refusal> {
        self.known(|state| state.supervisor.map_or(0, |supervisor| supervisor.pid.unsigned_abs())).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "SupervisorPIDFDId")]
    async fn supervisor_pidfd_id(&self) -> Result<u64, Refusal> {
        self.known(|state| state.supervisor.and_then(|supervisor| supervisor.pidfd_id).unwrap_or(0)).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn class(&self) -> Result<String, Refusal> {
        self.known(|state| state.class.name().to_owned()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn root_directory(&self) -> Result<String, Refusal> {
        self.known(|state| state.root_directory.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn network_interfaces(&self) -> Result<Vec<i32>, Refusal> {
        self.known(|state| state.network_interfaces).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "VSockCID")]
    async fn v_sock_cid(&self) -> Result<u32, Refusal> {
        self.known(|state| state.v_sock_cid.unwrap_or(ANY_CID)).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "SSHAddress")]
    async fn ssh_address(&self) -> Result<String, Refusal> {
        self.known(|state| state.ssh_address.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "SSHPrivateKeyPath")]
    async fn ssh_private_key_path(&self) -> Result<String, Refusal> {
        self.known(|state| state.ssh_private_key_path.unwrap_or_default()).await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn state(&self) -> Result<String, Refusal> {
        let name = self.name.clone();
        let find = move |service: &Service| {
            let state = operation::machine(service, &name)?;
            service.state_of(&state).map(str::to_owned)
        };
        self.face.run(find).await
    }

    #[zbus(property(emits_changed_signal = "const"), name = "UID")]
    async fn uid(&self) -> Result<u32, Refusal> {
        self.known(|state| state.uid).await
    }
}
