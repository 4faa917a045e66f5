//! The engine: looks at the host, makes a plan, carries it out stage by stage, and watches over the container.
//!
//! | module | does |
//! |---|---|
//! | [`facts`] | looks at the host, the caller and the tree |
//! | [`parent`] | locks, copies, temporary directories: once |
//! | `first` | makes the processes that run the stages |
//! | [`stage`] | launch → outer → inner → payload: at each start |
//! | [`proto`] | what the stages tell the supervisor |
//! | [`supervise`] | the loop that stays while the container runs |
//! | [`undo`] | removes what runs that died have left |
//! | [`settings`] | finds and reads the settings file of a machine |
//! | [`engine`] | all of it in order |

pub mod engine;
pub mod facts;
pub mod filter;
mod first;
pub mod id_range;
mod inotify_limit;
mod journal_link;
mod journal_remote;
pub mod parent;
mod property;
pub mod proto;
mod publication;
mod registration;
pub mod settings;
pub mod shift;
pub mod stage;
pub mod supervise;
pub mod undo;

/// An error with all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
