//! Parts of the judge that can be left out: the benchmark asks each what it buys. Nothing else ever leaves one out.

/// What the judge is made of.
#[expect(clippy::struct_excessive_bools, reason = "each part is there or not")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// A sick pod counts once per block (§6).
    pub pod_scores: bool,
    /// Stable's pods differ from each other (het, §4).
    pub pod_differences: bool,
    /// Clusters are feared more against larger alternatives (κ, §5).
    pub tempering: bool,
    /// Failures come in clusters (φ, §4).
    pub dispersion: bool,
    /// A regression may begin at any time (G, §5).
    pub start_mixture: bool,
    /// One block never decides alone (CAP, §5).
    pub cap: bool,
    /// The baseline forgets (§5).
    pub forgetting: bool,
    /// One sick pod is not yet a bad version (§7).
    pub one_sick_pod: bool,
    /// What nearly always fails needs no evidence against stable (§8, 2).
    pub broken_rule: bool,
    /// No step passes before a harmful excess is excluded (§8, d).
    pub promotion_evidence: bool,
    /// Young pods do not count fully (§3).
    pub warm_up: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            pod_scores: true,
            pod_differences: true,
            tempering: true,
            dispersion: true,
            start_mixture: true,
            cap: true,
            forgetting: true,
            one_sick_pod: true,
            broken_rule: true,
            promotion_evidence: true,
            warm_up: true,
        }
    }
}

impl Parts {
    /// The judge without one part each, by the part's name.
    #[must_use]
    pub fn without_each() -> [(&'static str, Self); 11] {
        let all = Self::default();
        [
            ("pod scores", Self { pod_scores: false, ..all }),
            ("pod differences", Self { pod_differences: false, ..all }),
            ("tempering", Self { tempering: false, ..all }),
            ("dispersion", Self { dispersion: false, ..all }),
            ("start mixture", Self { start_mixture: false, ..all }),
            ("cap", Self { cap: false, ..all }),
            ("forgetting", Self { forgetting: false, ..all }),
            ("one sick pod", Self { one_sick_pod: false, ..all }),
            ("broken rule", Self { broken_rule: false, ..all }),
            ("promotion evidence", Self { promotion_evidence: false, ..all }),
            ("warm-up", Self { warm_up: false, ..all }),
        ]
    }
}
