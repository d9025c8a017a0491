//! A session keeps its promises, whatever happens in whatever order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::bodies::session::run;
use super::cases;
use super::mutation::Bytes;

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_session_keeps_its_laws_under_any_order_of_events(
        script in vec(any::<u8>(), 0..400).prop_map(Bytes),
    ) {
        run(&script.0);
    }
}
