//! An application in a process of its own, which the kernel may kill.

use std::process::{Child, Command, Stdio};

use super::{Place, World};

/// An application in a process of its own.
pub(crate) struct Shop(Child);

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Shop {
    pub(crate) fn start(world: &World) -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        // With the variables that cargo sets for tests, it would rebuild dependencies.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")) {
            cargo.env_remove(name);
        }
        let built = cargo.args(["build", "--quiet", "--offline", "--example", "shop"]).status().unwrap();
        assert!(built.success());
        // The examples are beside the program.
        let directory = std::path::Path::new(env!("CARGO_BIN_EXE_mirrord")).parent().unwrap();
        let mut command = Command::new(directory.join("examples/shop"));
        command.env("SHOP_NAME", "app").stderr(Stdio::null());
        Self(world.within(Place::Pod, || command.spawn().unwrap()))
    }

    pub(crate) fn process(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}
