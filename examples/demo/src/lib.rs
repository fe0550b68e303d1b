//! What the demo and the tests on a real node share: images, installation by helm, watching a service, counting its users.

pub mod cluster;
pub mod diagnosis;
pub mod images;
pub mod install;
pub mod load;
pub mod nestjs;
pub mod service;
pub mod wait;
