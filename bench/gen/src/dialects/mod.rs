//! One file per wire protocol.
pub mod native;
pub mod raw;
pub mod socketio;
