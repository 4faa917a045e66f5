//! `org.freedesktop.machine1`: the D-Bus face. What it takes and gives is in org.freedesktop.machine1(5); what is done is in
//! [`crate::service`].
//!
//! | module | holds |
//! |---|---|
//! | `manager`, `machine`, `image` | the interfaces of the three kinds of objects |
//! | `operation` | what their methods do |
//! | `objects`, `path` | which objects there are, and where |
//! | `properties` | their properties, also those of any interface |
//! | `registration` | what is told of machines that others run |
//! | `refusal` | errors and their names |

mod face;
mod image;
mod machine;
mod manager;
mod objects;
mod operation;
mod path;
mod properties;
mod refusal;
mod registration;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast::error::RecvError;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;

use crate::service::{Event, Service};
use face::Face;
use manager::Manager;
use refusal::Refusal;

/// The name that this service has on the bus.
const NAME: &str = "org.freedesktop.machine1";

/// Where the system bus is, unless the environment says otherwise.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// The variable that says otherwise.
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// Whether there is a system bus.
#[must_use]
pub fn is_there() -> bool {
    std::env::var_os(ADDRESS).is_some() || std::path::Path::new(SOCKET).exists()
}

/// The calls that are being answered, and those that were.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    under_way: AtomicUsize,
    begun: AtomicUsize,
}

impl Calls {
    /// How many are being answered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }

    /// How many have come since the start: most are answered before anybody could see them.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Counts one more until the result is dropped.
    fn enter(&self) -> Entered {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }
}

/// One of them.
struct Entered(Calls);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connects to the system bus (`$DBUS_SYSTEM_BUS_ADDRESS` where that is set).
///
/// # Errors
/// Where there is no bus; [`zbus::Error::NameTaken`] where another service serves there.
pub async fn connect() -> zbus::Result<Connection> {
    let connection = Builder::system().build().await?;
    let bus = "org.freedesktop.DBus";
    let answer = connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "NameHasOwner", &NAME).await?;
    match answer.body().deserialize()? {
        true => Err(zbus::Error::NameTaken),
        false => Ok(connection),
    }
}

/// Serves on that bus, until the connection is dropped.
///
/// # Errors
/// Where the bus refuses the name, and [`zbus::Error::NameTaken`] where another service has it by now.
pub async fn serve(connection: &Connection, service: &Arc<Service>) -> zbus::Result<Calls> {
    let calls = Calls::default();
    let face = Face::new(service.clone(), calls.clone());
    // Listened to before anything is looked at: nothing is missed.
    let mut events = service.events();
    let server = connection.object_server();
    server.at(path::MANAGER, Manager(face.clone())).await?;
    properties::serve::<Manager>(server, &zbus::ObjectPath::from_static_str(path::MANAGER)?).await?;
    show_all(server, &face).await.map_err(|refusal| zbus::Error::Failure(refusal.to_string()))?;
    // The name last: whoever waits for it finds all of it. It is not waited for in a queue, where nobody would find us.
    match connection.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await? {
        RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner => {}
        RequestNameReply::InQueue | RequestNameReply::Exists => return Err(zbus::Error::NameTaken),
    }
    let told = connection.clone();
    tokio::spawn(async move {
        loop {
            let done = match events.recv().await {
                Ok(event) => tell(&told, &face, &event).await,
                // They are told of all that there is; who asks gets the truth.
                Err(RecvError::Lagged(_)) => show_all(told.object_server(), &face).await,
                Err(RecvError::Closed) => return,
            };
            if let Err(refusal) = done {
                crate::log::warn(&refusal);
            }
        }
    });
    Ok(calls)
}

/// Makes the objects of all machines and images that there are.
async fn show_all(server: &zbus::ObjectServer, face: &Face) -> Result<(), Refusal> {
    for state in face.run(Service::machines).await? {
        objects::show_machine(server, face, &state.name).await?;
    }
    let images = face.run(Service::images).await?;
    objects::show_images(server, face, &images).await
}

/// Tells everybody of a machine that has come or gone.
async fn tell(connection: &Connection, face: &Face, event: &Event) -> Result<(), Refusal> {
    let server = connection.object_server();
    let emitter = SignalEmitter::new(connection, path::MANAGER).map_err(|error| Refusal::failed(&error))?;
    let sent = match event {
        Event::Added(state) => {
            let path = objects::show_machine(server, face, &state.name).await?;
            Manager::machine_new(&emitter, &state.name, path.as_ref()).await
        }
        Event::Removed(state) => {
            // One of the same name may have come by now.
            let name = state.name.clone();
            if face.run(move |service| operation::machine(service, &name)).await.is_err() {
                objects::hide_machine(server, face, &state.name).await?;
            }
            Manager::machine_removed(&emitter, &state.name, path::of_machine(&state.name).as_ref()).await
        }
    };
    sent.map_err(|error| Refusal::failed(&error))
}
