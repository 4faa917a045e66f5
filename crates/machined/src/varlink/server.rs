//! Sockets and connections. Anybody may connect, so each user has a limited number of connections, and each connection holds one
//! message and one answer at most.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::{UnixListener, UnixStream};

use super::framing::Connection;
use super::{Call, Face, Refusal, Reply, dispatch};
use crate::service::{Caller, Error, Service};

/// How many connections there may be.
const MOST: usize = 4096;
/// How many of them one user may have, other than root.
const MOST_OF_USER: usize = 256;
/// How long a caller may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing is accepted where that fails: there are too many descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that there are.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<HashMap<u32, usize>>>);

impl Connections {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn enter(&self, uid: u32) -> Option<Entered> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole: usize = all.values().sum();
        let own = all.entry(uid).or_default();
        if whole >= MOST || (uid != 0 && *own >= MOST_OF_USER) {
            return None;
        }
        *own += 1;
        Some(Entered { connections: self.clone(), uid })
    }
}

/// One of them.
struct Entered {
    connections: Connections,
    uid: u32,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut all = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

/// Serves a socket for as long as the service runs.
pub async fn serve(listener: UnixListener, face: Face, service: Arc<Service>, connections: Connections) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                crate::log::warn(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(peer) = sys::peer::of(stream.as_fd()) else { continue };
        // Hung up on: there is no name for that in the protocol.
        let Some(entered) = connections.enter(peer.uid) else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            let _entered = entered;
            converse(stream, face, service, Arc::new(Caller::of_peer(peer))).await;
        });
    }
}

/// Answers one call after the other. Whoever talks nonsense is hung up on.
async fn converse(stream: UnixStream, face: Face, service: Arc<Service>, caller: Arc<Caller>) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(message)) = connection.next().await {
        let Some(asked) = Asked::read(&message) else { return };
        drop(message);
        let oneway = asked.oneway;
        let answered = answer(asked, face, service.clone(), caller.clone()).await;
        if oneway {
            continue;
        }
        match tokio::time::timeout(PATIENCE, send(&connection, answered)).await {
            Ok(Ok(())) => {}
            // Gone, or asleep.
            _ => return,
        }
    }
}

/// A call as it came.
struct Asked {
    method: String,
    parameters: Map<String, Value>,
    more: bool,
    oneway: bool,
    upgrade: bool,
}

impl Asked {
    fn read(message: &[u8]) -> Option<Self> {
        let Value::Object(mut fields) = serde_json::from_slice(message).ok()? else { return None };
        let Some(Value::String(method)) = fields.remove("method") else { return None };
        let parameters = match fields.remove("parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters,
            Some(_) => return None,
        };
        let mut flag = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Some(false),
            Some(value) => value.as_bool(),
        };
        let (more, oneway, upgrade) = (flag("more")?, flag("oneway")?, flag("upgrade")?);
        // Several answers to somebody who wants none make no sense.
        (!(more && oneway)).then_some(Self { method, parameters, more, oneway, upgrade })
    }
}

/// No method here goes on with another protocol.
fn not_upgraded(method: &str) -> Refusal {
    Refusal::varlink("MethodNotImplemented", json!({ "method": method }))
}

async fn answer(asked: Asked, face: Face, service: Arc<Service>, caller: Arc<Caller>) -> Result<Reply, Refusal> {
    if asked.upgrade {
        return Err(not_upgraded(&asked.method));
    }
    let carried_out = tokio::task::spawn_blocking(move || {
        let call = Call { service: &service, caller: &caller, face, more: asked.more };
        dispatch(&call, &asked.method, asked.parameters)
    });
    carried_out.await.unwrap_or_else(|error| {
        crate::log::warn(&error);
        Err(Refusal::system(&Error::Failed))
    })
}

async fn send(connection: &Connection, answered: Result<Reply, Refusal>) -> std::io::Result<()> {
    let (texts, descriptors) = written(answered);
    let mut beside = descriptors.as_slice();
    for text in texts {
        connection.send(text, beside).await?;
        beside = &[];
    }
    Ok(())
}

/// The messages of an answer, and the descriptors that go with the first one.
fn written(answered: Result<Reply, Refusal>) -> (Vec<Vec<u8>>, Vec<OwnedFd>) {
    let text = |value: Value| value.to_string().into_bytes();
    match answered {
        Ok(Reply::One(parameters, descriptors)) => (vec![text(json!({ "parameters": parameters }))], descriptors),
        Ok(Reply::Many(all)) => {
            let last = all.len().saturating_sub(1);
            let texts = all.into_iter().enumerate().map(|(index, parameters)| {
                let answer = match index == last {
                    true => json!({ "parameters": parameters }),
                    false => json!({ "parameters": parameters, "continues": true }),
                };
                text(answer)
            });
            (texts.collect(), Vec::new())
        }
        Err(Refusal { name, parameters }) => {
            (vec![text(json!({ "error": name, "parameters": parameters }))], Vec::new())
        }
    }
}

/// What a message of a connection is answered by, without one: the messages, without the NUL behind each. Nothing where the
/// connection would be ended.
#[must_use]
pub fn answers(service: &Service, caller: &Caller, face: Face, message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let asked = Asked::read(message)?;
    let call = Call { service, caller, face, more: asked.more };
    let answered = match asked.upgrade {
        true => Err(not_upgraded(&asked.method)),
        false => dispatch(&call, &asked.method, asked.parameters),
    };
    let (texts, _) = written(answered);
    Some(if asked.oneway { Vec::new() } else { texts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_its_share() {
        let connections = Connections::default();
        let own: Vec<_> = (0..MOST_OF_USER).map(|_| connections.enter(7).unwrap()).collect();
        assert!(connections.enter(7).is_none());
        assert!(connections.enter(8).is_some());
        let roots: Vec<_> = (MOST_OF_USER..MOST).map(|_| connections.enter(0).unwrap()).collect();
        assert!(connections.enter(0).is_none());
        drop((own, roots));
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn what_is_no_call() {
        for nonsense in [
            "",
            "[]",
            "{}",
            "null",
            "{\"method\":1}",
            "{\"method\":\"a.B\",\"parameters\":[]}",
            "{\"method\":\"a.B\",\"more\":1}",
            "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}",
            "{\"method\":\"a.B\"}x",
        ] {
            assert!(Asked::read(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
        let deep = format!("{{\"method\":\"a.B\",\"parameters\":{}1{}}}", "{\"a\":".repeat(1000), "}".repeat(1000));
        assert!(Asked::read(deep.as_bytes()).is_none());
        let asked = Asked::read(b"{\"method\":\"a.B\",\"parameters\":null,\"more\":true}").unwrap();
        assert!(asked.more && !asked.oneway && asked.parameters.is_empty());
    }
}
