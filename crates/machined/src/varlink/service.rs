//! `org.varlink.service` and `io.systemd.service`.

use serde_json::json;

use super::{Call, Parameters, Refusal, Reply};
use crate::service::Error;

/// The lowest priority of syslog(3).
const DEBUG: i64 = 7;

/// What every Varlink service has, see <https://varlink.org/Service>.
pub(super) fn varlink(call: &Call<'_>, method: &str, mut parameters: Parameters) -> Result<Reply, Refusal> {
    match method {
        "GetInfo" => {
            parameters.end()?;
            let interfaces: Vec<&str> = call.face.interfaces().iter().map(|interface| interface.name).collect();
            Ok(Reply::of(json!({
                "vendor": "redd",
                "product": "redd (systemd-machined)",
                "version": env!("CARGO_PKG_VERSION"),
                "url": "",
                "interfaces": interfaces,
            })))
        }
        "GetInterfaceDescription" => {
            let wanted = parameters.text("interface")?;
            parameters.end()?;
            let wanted = wanted.ok_or_else(|| Refusal::parameter("interface"))?;
            let found = call.face.interfaces().iter().find(|interface| interface.name == wanted);
            let unknown = || Refusal::varlink("InterfaceNotFound", json!({ "interface": wanted }));
            Ok(Reply::of(json!({ "description": found.ok_or_else(unknown)?.description })))
        }
        other => Err(Refusal::method_not_found(&format!("org.varlink.service.{other}"))),
    }
}

/// What every service of systemd has.
pub(super) fn daemon(call: &Call<'_>, method: &str, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let root = || match call.caller.uid() {
        0 => Ok(()),
        _ => Err(Refusal::of("io.systemd.service", &Error::NotPermitted("the service's own settings"))),
    };
    match method {
        "Ping" => {
            parameters.end()?;
            Ok(Reply::none())
        }
        "SetLogLevel" => {
            let level = parameters.number("level")?;
            parameters.end()?;
            let level = level.filter(|level| (0..=DEBUG).contains(level));
            let level = level.ok_or_else(|| Refusal::parameter("level"))?;
            root()?;
            crate::log::set_level(level);
            Ok(Reply::none())
        }
        "GetEnvironment" => {
            parameters.end()?;
            root()?;
            let mut pairs = Vec::new();
            for (name, value) in std::env::vars_os() {
                match (name.into_string(), value.into_string()) {
                    (Ok(name), Ok(value)) => pairs.push(format!("{name}={value}")),
                    _ => return Err(Refusal::new("io.systemd.service.InconsistentEnvironment")),
                }
            }
            Ok(Reply::of(json!({ "environment": pairs })))
        }
        other => Err(Refusal::method_not_found(&format!("io.systemd.service.{other}"))),
    }
}
