//! Requests for `http` through a proxy name the whole address (RFC 9112, 3.2.2), as every proxy expects it; ureq would
//! ask the proxy for a tunnel, which many allow for `https` alone.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};

/// Connects to the proxy and has requests rewritten for it.
pub(super) struct ForwardConnector {
    tcp: TcpConnector,
    authorization: Option<String>,
}

impl ForwardConnector {
    pub(super) fn new(proxy: &ureq::Proxy) -> Self {
        let authorization = proxy.username().map(|user| {
            let credentials = format!("{user}:{}", proxy.password().unwrap_or_default());
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
        });
        Self { tcp: TcpConnector::default(), authorization }
    }
}

impl fmt::Debug for ForwardConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardConnector")
    }
}

impl Connector<()> for ForwardConnector {
    type Out = Forward;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Forward>, ureq::Error> {
        let Some(authority) = details.uri.authority() else {
            return Err(ureq::Error::BadUri(details.uri.to_string()));
        };
        // Credentials in the mirror's address are no business of the request line.
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        let transport = Connector::<()>::connect(&self.tcp, details, chained)?;
        Ok(transport.map(|transport| Forward {
            inner: transport.boxed(),
            prefix: format!("http://{host}"),
            authorization: self.authorization.clone(),
            at_request: true,
        }))
    }
}

/// A connection to the proxy for requests to one server.
pub(super) struct Forward {
    inner: Box<dyn Transport>,
    prefix: String,
    authorization: Option<String>,
    /// Whether what is sent next begins a request.
    at_request: bool,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.prefix)
    }
}

impl Transport for Forward {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let sent = self.inner.buffers().output()[..amount].to_vec();
        let begins = self.at_request;
        // No request has a body here: each ends with its header.
        self.at_request = sent.ends_with(b"\r\n\r\n");
        if !begins {
            return self.inner.transmit_output(amount, timeout);
        }
        for piece in rewrite(&sent, &self.prefix, self.authorization.as_deref()).chunks(4096) {
            let output = self.inner.buffers().output();
            let count = piece.len().min(output.len());
            output[..count].copy_from_slice(&piece[..count]);
            self.inner.transmit_output(count, timeout)?;
            // The output buffer is far larger than a piece; if it ever is not, say so instead of sending half.
            if count < piece.len() {
                return Err(ureq::Error::ConnectionFailed);
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// `GET /path HTTP/1.1` becomes `GET http://host/path HTTP/1.1`, followed by the proxy's credentials.
fn rewrite(request: &[u8], prefix: &str, authorization: Option<&str>) -> Vec<u8> {
    let Some(path) = request.iter().position(|b| *b == b' ').map(|at| at + 1) else { return request.to_vec() };
    let line = request.windows(2).position(|pair| pair == b"\r\n").map_or(request.len(), |at| at + 2);
    let mut rewritten = Vec::with_capacity(request.len() + 128);
    rewritten.extend_from_slice(&request[..path]);
    rewritten.extend_from_slice(prefix.as_bytes());
    rewritten.extend_from_slice(&request[path..line.max(path)]);
    rewritten.extend_from_slice(authorization.unwrap_or_default().as_bytes());
    rewritten.extend_from_slice(&request[line.max(path)..]);
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewritten() {
        let request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(rewrite(request, "http://h", None), b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(
            rewrite(request, "http://h", Some("A: b\r\n")),
            b"GET http://h/a HTTP/1.1\r\nA: b\r\nHost: h\r\n\r\n"
        );
        assert_eq!(rewrite(b"odd", "http://h", None), b"odd");
    }
}
