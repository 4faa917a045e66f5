//! Requests made in a thread of their own, so that whoever gives one up need not wait for a server that says nothing: the
//! thread is left alone then, and ends when the server's time is over.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use super::{Client, Error, without_credentials};

/// How often it is looked at whether a request is given up.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// How much is read at once.
const CHUNK: usize = 128 * 1024;
/// How many pieces may wait for being written.
const WAITING: usize = 2;

/// What the thread tells.
enum News {
    Answer {
        offset: u64,
        length: Option<u64>,
        modified: Option<SystemTime>,
    },
    /// Nothing in it is the end.
    Piece(Vec<u8>),
}

/// What a server sends, read by another thread.
#[derive(Debug)]
pub(crate) struct Aside {
    news: Receiver<Result<News, Error>>,
    /// At which byte of the file this begins.
    pub(crate) offset: u64,
    /// How many bytes come, where the server says so.
    pub(crate) length: Option<u64>,
    /// When it was changed last, where the server says so.
    pub(crate) modified: Option<SystemTime>,
}

impl Client {
    /// As [`Client::get`]; `None` where it was given up meanwhile.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) fn get_aside(&self, given_up: &dyn Fn() -> bool, url: &str, from: u64) -> Result<Option<Aside>, Error> {
        let (sender, news) = sync_channel(WAITING);
        let (client, address) = (self.clone(), url.to_owned());
        let thread = std::thread::Builder::new().name("fetching".to_owned());
        let started = thread.spawn(move || fetch(&client, &address, from, &sender));
        started.map_err(|e| broken(url, e))?;
        match next(&news, given_up, url)? {
            Some(News::Answer { offset, length, modified }) => Ok(Some(Aside { news, offset, length, modified })),
            _ => Ok(None),
        }
    }
}

impl Aside {
    /// The next bytes, none at the end; `None` where it was given up meanwhile.
    ///
    /// # Errors
    /// As [`super::Response::read`].
    pub(crate) fn next(&mut self, given_up: &dyn Fn() -> bool, url: &str) -> Result<Option<Vec<u8>>, Error> {
        match next(&self.news, given_up, url)? {
            Some(News::Piece(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }
}

fn next(news: &Receiver<Result<News, Error>>, given_up: &dyn Fn() -> bool, url: &str) -> Result<Option<News>, Error> {
    while !given_up() {
        match news.recv_timeout(BETWEEN_LOOKS) {
            Ok(next) => return next.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(broken(url, io::Error::other("what fetches it has ended early")));
            }
        }
    }
    Ok(None)
}

fn broken(url: &str, source: io::Error) -> Error {
    Error::Connection { url: without_credentials(url), source: Box::new(ureq::Error::Io(source)) }
}

/// Runs in the thread, until the end or until nobody listens any more.
fn fetch(client: &Client, url: &str, from: u64, sender: &SyncSender<Result<News, Error>>) {
    let mut response = match client.get(url, from) {
        Ok(response) => response,
        Err(e) => return drop(sender.send(Err(e))),
    };
    let (offset, length, modified) = (response.offset(), response.length(), response.modified);
    let mut sent = sender.send(Ok(News::Answer { offset, length, modified }));
    let mut last = false;
    while sent.is_ok() && !last {
        let mut bytes = vec![0; CHUNK];
        let read = response.read(&mut bytes).map(|count| {
            bytes.truncate(count);
            News::Piece(bytes)
        });
        last = !matches!(&read, Ok(News::Piece(bytes)) if !bytes.is_empty());
        sent = sender.send(read);
    }
}
