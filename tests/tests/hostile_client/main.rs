//! A hostile client, before and after login, against a real server.
//!
//! Whatever it does, it is ended or refused, and nobody else notices: each test ends with the same question,
//! `Scene::assert_unharmed`. What a client may send wrong in its *content* is tested elsewhere (`paths.rs`,
//! `integrity.rs`, `login.rs`); here it is about form, order, size, number and patience.

mod crowd;
mod declared;
mod forms;
mod greedy;
mod leaving;
mod order;
mod outliving;
mod scene;
mod slow;
mod tls;
mod transfers;
