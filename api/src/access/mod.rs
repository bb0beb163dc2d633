//! Authentication, authorization, rate limits and quotas.
//!
//! - [`caller`]: the caller of a request, and what its key permits
//! - `hosts`: hosts by which an api without keys may be called
//! - `keys`: API keys that the operator lists; `stored`: API keys issued over HTTP; `stored_key`:
//!   the object of such a key
//! - `limits`: rate limits and followers per tenant; `open_jobs`: open jobs per tenant
//! - [`peers`]: limits per client address, for requests without a key
//! - `sender`: the tenant or address that sends a request; `shares`: amounts of which each sender
//!   can take only a part

mod caller;
pub(crate) mod hosts;
mod keys;
mod limits;
mod open_jobs;
pub(crate) mod peers;
mod sender;
mod shares;
mod stored;
mod stored_key;

pub(crate) use self::{
    caller::{Admin, Caller},
    hosts::{Hosts, host_of, is_loopback},
    keys::ApiKeys,
    limits::{Limits, Processes, wait_time},
    peers::{Peer, Peers, TrustedProxies},
    sender::{Sender, SenderCell},
    shares::{Share, Shares},
    stored::{MAX_KEYS, StoredKeys},
    stored_key::StoredKey,
};
