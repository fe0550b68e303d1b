//! The addresses of a bed: everything lies in one /16 of its own, so that beds run side by side.

/// The /16 of a bed, cut into the pods of fake nodes, the pods of the real node and the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The second byte of every address: 98 to 127.
    pub second: u8,
}

impl Network {
    /// Pods of fake nodes. As root these addresses lead to this machine itself.
    #[must_use]
    pub fn fake_pods(self) -> String {
        format!("10.{}.0.0/17", self.second)
    }

    /// The address that fake nodes report; nobody listens there.
    #[must_use]
    pub fn fake_node(self) -> String {
        format!("10.{}.127.254", self.second)
    }

    /// Pods of the real node.
    #[must_use]
    pub fn real_pods(self) -> String {
        format!("10.{}.128.0/20", self.second)
    }

    /// This machine as the pods of the real node see it: the bridge's own address.
    #[must_use]
    pub fn gateway(self) -> String {
        format!("10.{}.128.1", self.second)
    }

    /// The name of the bridge that joins the pods of the real node.
    #[must_use]
    pub fn bridge(self) -> String {
        format!("plimsoll{}", self.second)
    }

    /// `ClusterIP`s.
    #[must_use]
    pub fn services(self) -> String {
        format!("10.{}.240.0/20", self.second)
    }

    /// The `ClusterIP` of the API server.
    #[must_use]
    pub fn kubernetes(self) -> String {
        format!("10.{}.240.1", self.second)
    }
}
