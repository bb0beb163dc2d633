//! The time that is lost when Temporal's database is restored from a dump. Jobs may have been
//! bought and may have ended in it, of which only the provider and the store know.

use std::str::FromStr;

use jiff::Timestamp;

/// The lost time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LostTime {
    /// Time of the dump.
    pub dump: Timestamp,
    /// Time at which Temporal was available again.
    pub restored: Timestamp,
}

impl LostTime {
    /// Returns true if a run that began at this time may have acted in the lost time.
    pub(super) fn concerns(&self, began: Timestamp) -> bool {
        began < self.restored
    }
}

impl FromStr for LostTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str =
            "must be the time of the dump and that of the restore, separated by a comma";
        let (dump, restored) = text.split_once(',').ok_or(RULE)?;
        let time = |text: &str| text.trim().parse::<Timestamp>().map_err(|_| RULE);
        let lost = Self {
            dump: time(dump)?,
            restored: time(restored)?,
        };
        if lost.dump < lost.restored {
            Ok(lost)
        } else {
            Err("must be the time of the dump first, then the later time of the restore")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_must_be_older_than_its_restore() {
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
