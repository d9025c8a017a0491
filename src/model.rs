//! Ids, units and small values that every other module speaks in.

mod draws;
mod finding;
mod ids;
mod incarnation;
mod labels;
mod lean;
mod legs;
mod rough_place;
mod time;
mod usage;

pub use draws::Draws;
pub use finding::Finding;
pub use ids::{
    BackendId, IdError, MeetingId, MeetingName, PipelineId, SessionId, pipeline_of_object,
};
pub use incarnation::Incarnation;
pub use labels::{LABEL_MAX_LEN, LABELS_MAX, LabelError, Labels};
pub use lean::remove_lean;
pub use legs::Legs;
pub use rough_place::RoughPlace;
pub use time::Time;
pub use usage::{MachineUsage, Usage};
