//! `org.freedesktop.machine1`: the D-Bus face. What it takes and gives is in org.freedesktop.machine1(5); what is done is in
//! [`crate::service`].
//!
//! | module | holds |
//! |---|---|
//! | `manager`, `machine`, `image` | the interfaces of the three kinds of objects |
//! | `operation` | what their methods do |
//! | `objects`, `path` | which objects there are, and where |
//! | `registration` | what is told of machines that others run |
//! | `refusal` | errors and their names |

mod face;
mod image;
mod machine;
mod manager;
mod objects;
mod operation;
mod path;
mod refusal;
mod registration;

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use zbus::Connection;
use zbus::connection::Builder;
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

/// Serves on the system bus (`$DBUS_SYSTEM_BUS_ADDRESS` where that is set), until the result is dropped.
///
/// # Errors
/// Where there is no bus, where it refuses the name, and where another service has it.
pub async fn serve(service: Arc<Service>) -> zbus::Result<Connection> {
    serve_on(Builder::system(), service).await
}

async fn serve_on(bus: Builder<'_>, service: Arc<Service>) -> zbus::Result<Connection> {
    let face = Face::new(service.clone());
    // Listened to before anything is looked at: nothing is missed.
    let mut events = service.events();
    let connection = bus.serve_at(path::MANAGER, Manager(face.clone())).build().await?;
    let server = connection.object_server();
    show_all(server, &face).await.map_err(|refusal| zbus::Error::Failure(refusal.to_string()))?;
    // The name last: whoever waits for it finds all of it.
    connection.request_name(NAME).await?;
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
    Ok(connection)
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
                objects::hide_machine(server, &state.name).await?;
            }
            Manager::machine_removed(&emitter, &state.name, path::of_machine(&state.name).as_ref()).await
        }
    };
    sent.map_err(|error| Refusal::failed(&error))
}
