//! `org.freedesktop.DBus.Properties` of our objects. zbus's own refuses the interface name "", which means any interface:
//! that is what machinectl(1) asks for.

#![allow(clippy::too_many_arguments, reason = "the interface has them, and zbus passes four of its own")]

use std::collections::HashMap;
use std::marker::PhantomData;

use zbus::message::Header;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{BoxDBusError, Connection, ObjectPath, ObjectServer, OwnedVariant, Variant, fdo, interface};

/// The interfaces that every object has. They have no properties.
const EVERYWHERE: [&str; 3] =
    ["org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Properties"];

/// The properties of an object whose own interface is `I`.
pub(super) struct Properties<I>(PhantomData<fn() -> I>);

/// Gives an object these in place of zbus's.
///
/// Between the two steps it has none: whoever calls this has told nobody of the object yet.
pub(super) async fn serve<I: Interface>(server: &ObjectServer, path: &ObjectPath<'_>) -> zbus::Result<()> {
    server.remove::<fdo::Properties, _>(path).await?;
    server.at(path, Properties::<I>(PhantomData)).await.map(drop)
}

/// Whether the interface of this name is the object's own.
fn is_own<I: Interface>(interface: &str) -> Result<bool, fdo::Error> {
    match interface {
        "" => Ok(true),
        name if I::name() == name => Ok(true),
        name if EVERYWHERE.contains(&name) => Ok(false),
        name => Err(fdo::Error::UnknownInterface(format!("no interface {name:?} is here"))),
    }
}

fn unknown(property: &str) -> BoxDBusError {
    fdo::Error::UnknownProperty(format!("there is no property {property:?}")).into()
}

// A method with an answer comes last: busctl(1) takes the direction of the last argument for that of signals, and complains.
#[interface(name = "org.freedesktop.DBus.Properties", introspection_docs = false)]
impl<I: Interface> Properties<I> {
    #[zbus(out_args("value"))]
    async fn get(
        &self,
        interface_name: &str,
        property_name: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedVariant, BoxDBusError> {
        if !is_own::<I>(interface_name)? {
            return Err(unknown(property_name));
        }
        let own = server.interface::<_, I>(emitter.path()).await?;
        let found = own.get().await.get(property_name, server, connection, Some(&header), &emitter).await;
        found.ok_or_else(|| unknown(property_name))?
    }

    /// None of ours can be set.
    async fn set(
        &self,
        interface_name: &str,
        property_name: &str,
        value: Variant<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), BoxDBusError> {
        drop(value);
        self.get(interface_name, property_name, connection, server, header, emitter).await?;
        Err(fdo::Error::PropertyReadOnly(format!("the property {property_name:?} cannot be set")).into())
    }

    #[zbus(out_args("props"))]
    async fn get_all(
        &self,
        interface_name: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<HashMap<String, OwnedVariant>, BoxDBusError> {
        if !is_own::<I>(interface_name)? {
            return Ok(HashMap::new());
        }
        let own = server.interface::<_, I>(emitter.path()).await?;
        let all = own.get().await.get_all(server, connection, Some(&header), &emitter).await?;
        Ok(all)
    }

    #[zbus(signal)]
    async fn properties_changed(
        emitter: &SignalEmitter<'_>,
        interface_name: &str,
        changed_properties: HashMap<&str, Variant<'_>>,
        invalidated_properties: &[&str],
    ) -> zbus::Result<()>;
}
