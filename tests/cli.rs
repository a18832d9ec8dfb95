//! The program as a user runs it: what goes through, what goes on after a kill, and what bad input gets for an answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "cli/annotated.rs"]
mod annotated;
#[path = "cli/backbones.rs"]
mod backbones;
#[path = "cli/bad_images.rs"]
mod bad_images;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/crf.rs"]
mod crf;
#[path = "cli/cross_image.rs"]
mod cross_image;
#[path = "cli/data_sets.rs"]
mod data_sets;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/joint.rs"]
mod joint;
#[path = "cli/reading.rs"]
mod reading;
#[path = "cli/results.rs"]
mod results;
#[path = "cli/resume.rs"]
mod resume;
#[cfg(target_os = "linux")]
#[path = "cli/room.rs"]
mod room;
#[path = "cli/run_directory.rs"]
mod run_directory;
#[path = "cli/smoke.rs"]
mod smoke;
#[path = "cli/voc.rs"]
mod voc;
#[path = "cli/weights_by_name.rs"]
mod weights_by_name;
