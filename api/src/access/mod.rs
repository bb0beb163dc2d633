//! Who calls, what their keys are good for, and how much they may ask for.
//!
//! - [`caller`]: who calls
//! - `keys`: API keys that the operator lists; `stored`: those that were given out over HTTP
//! - `limits`: requests a second, those who wait; `open_jobs`: jobs that have not ended
//! - [`peers`]: from where they call, and what they need no key for; `shares`: what none may take all of

mod caller;
mod keys;
mod limits;
mod open_jobs;
pub(crate) mod peers;
mod shares;
mod stored;

pub(crate) use self::{
    caller::{Admin, Caller},
    keys::ApiKeys,
    limits::{Limits, Processes, wait_time},
    peers::{Peer, Peers, TrustedProxies},
    shares::Share,
    stored::{MAX_KEYS, StoredKey, StoredKeys},
};
