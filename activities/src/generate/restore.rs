//! What became of jobs in a time that Temporal has lost, as its database was restored from a dump: they may have been bought, and may
//! have ended, with nobody but the provider and the store to tell.

use std::str::FromStr;

use jiff::Timestamp;

/// The time that was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LostTime {
    /// When the dump was made.
    pub dump: Timestamp,
    /// When Temporal was there again.
    pub restored: Timestamp,
}

impl LostTime {
    /// Whether a run that began then may have done something in it.
    pub(super) fn concerns(&self, began: Timestamp) -> bool {
        began < self.restored
    }
}

impl FromStr for LostTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str =
            "must be the time of the dump and that of the restore, with a comma between";
        let (dump, restored) = text.split_once(',').ok_or(RULE)?;
        let time = |text: &str| text.trim().parse::<Timestamp>().map_err(|_| RULE);
        let lost = Self {
            dump: time(dump)?,
            restored: time(restored)?,
        };
        if lost.dump < lost.restored {
            Ok(lost)
        } else {
            Err("must be the time of the dump and then that of the restore, which is later")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_older_than_its_restore() {
        let lost: LostTime = "2026-11-26T06:00:00Z, 2026-11-26T06:20:00Z"
            .parse()
            .unwrap();
        assert!(lost.concerns("2026-11-26T06:19:59Z".parse().unwrap()));
        assert!(!lost.concerns("2026-11-26T06:20:00Z".parse().unwrap()));
        for bad in [
            "",
            "2026-11-26T06:00:00Z",
            "2026-11-26T06:20:00Z,2026-11-26T06:00:00Z",
        ] {
            assert!(bad.parse::<LostTime>().is_err(), "{bad}");
        }
    }
}
