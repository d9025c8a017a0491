//! Which process a backend is.

/// The identity of one run of a media server, from the `serverId` it draws at start.
///
/// Equal texts give equal values on every edge, so pins that edges share can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The incarnation that `server_id` stands for. Source: FNV-1a, 64 bits.
    #[must_use]
    pub fn of(server_id: &str) -> Self {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(server_id.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The same process after it was given up for lost `losses` times, which counts as another: what
    /// it held was forgotten, and late news of that must not meet what it holds now.
    #[must_use]
    pub fn after_losses(self, losses: u32) -> Self {
        Self(self.0 ^ u64::from(losses).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_differ_as_their_server_ids_do() {
        assert_eq!(Incarnation::of("a"), Incarnation(0xaf63_dc4c_8601_ec8c));
        assert_ne!(Incarnation::of("a"), Incarnation::of("b"));
        assert_eq!(Incarnation(7).after_losses(0), Incarnation(7));
        assert_ne!(Incarnation(7).after_losses(1), Incarnation(7).after_losses(2));
    }
}
