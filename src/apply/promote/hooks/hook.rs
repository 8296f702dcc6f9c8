//! When a hook runs, and the name of its file.

/// When one is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    BeforePlan,
    AfterPlan,
    BeforeBring,
    AfterBring,
    BeforeSwitch,
    /// The new release runs and may still be taken back.
    AfterSwitch,
    /// The same, after all others agreed.
    BeforeDone,
    /// Nothing is taken back any more.
    AfterDone,
}

impl HookPoint {
    pub(super) const ALL: [Self; 8] = [
        Self::BeforePlan,
        Self::AfterPlan,
        Self::BeforeBring,
        Self::AfterBring,
        Self::BeforeSwitch,
        Self::AfterSwitch,
        Self::BeforeDone,
        Self::AfterDone,
    ];

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforePlan => "before-plan",
            Self::AfterPlan => "after-plan",
            Self::BeforeBring => "before-bring",
            Self::AfterBring => "after-bring",
            Self::BeforeSwitch => "before-switch",
            Self::AfterSwitch => "after-switch",
            Self::BeforeDone => "before-done",
            Self::AfterDone => "after-done",
        }
    }
}
