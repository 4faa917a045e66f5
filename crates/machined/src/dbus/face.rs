//! What all objects share: the service, and who calls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use zbus::message::{Flags, Header};
use zbus::{Connection, OwnedVariant};

use super::Calls;
use super::operation::Asker;
use super::refusal::Refusal;
use crate::service::{Caller, Error, Service};

/// The service, as objects on the bus reach it.
#[derive(Clone, Debug)]
pub(super) struct Face {
    service: Arc<Service>,
    /// The names of the images that have objects. Held while any object is made or taken away.
    pub(super) shown: Arc<Mutex<HashSet<String>>>,
    /// What is being done.
    calls: Calls,
}

impl Face {
    /// That of a service.
    pub(super) fn new(service: Arc<Service>, calls: Calls) -> Self {
        Self { service, shown: Arc::default(), calls }
    }

    /// Does something on a thread that may wait.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let service = self.service.clone();
        let _entered = self.calls.enter();
        match spawn_blocking(move || work(&service)).await {
            Ok(done) => done.map_err(Refusal::from),
            Err(error) => Err(Refusal::failed(&error)),
        }
    }

    /// The same for somebody who may have to be permitted it.
    pub(super) async fn run_for<T: Send + 'static>(
        &self,
        (connection, header): (&Connection, &Header<'_>),
        work: impl FnOnce(&Service, &Asker) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let asker = asker(connection, header).await?;
        self.run(move |service| work(service, &asker)).await
    }
}

/// Who calls, as the bus says.
async fn asker(connection: &Connection, header: &Header<'_>) -> Result<Asker, Refusal> {
    let sender = header.sender().ok_or_else(|| Refusal::argument("a call without a sender"))?;
    let name = sender.to_string();
    let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let bus = "org.freedesktop.DBus";
    let answer = connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionCredentials", &(name.as_str(),))
        .await
        .map_err(|error| Refusal::failed(&error))?;
    let body = answer.body();
    let known: HashMap<String, OwnedVariant> = body.deserialize().map_err(|error| Refusal::failed(&error))?;
    let number = |key: &str| known.get(key).and_then(|value| u32::try_from(value).ok());
    // A bus that does not know who that is lets nobody do anything.
    let uid = number("UnixUserID").ok_or_else(|| Refusal::argument("the bus does not say whose the call is"))?;
    let pid = number("ProcessID").and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
    Ok(Asker { caller: Caller::Bus { name, pid, uid }, interactive })
}
