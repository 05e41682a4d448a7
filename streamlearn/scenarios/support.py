"""The scenario `support`: what customers write to a shop's desk, with new intents in three waves and a rewording."""

from streamlearn.scenarios.story import Scenario, Stage

SUPPORT = Scenario(
    name="support",
    wording="support.json",
    groups={
        "first": ("delivery_late", "refund_request", "card_blocked"),
        "drifting": ("payment_failed",),
        "wave 1": ("password_reset", "cancel_order", "change_address", "return_item"),
        "wave 2": ("exchange_item", "damaged_item", "voucher_problem", "invoice_request"),
        "newest": ("delivery_missing", "card_lost", "double_charge", "close_account"),
    },
    stages=(
        Stage(
            phase="warm-up",
            until=0.20,
            weights={"first": 1, "drifting": 1},
            labelled={"first": 0.9, "drifting": 0.9},
        ),
        Stage(
            phase="new intents",
            until=0.38,
            weights={"first": 0.1, "drifting": 0.1, "wave 1": 1},
            labelled={"first": 0.8, "drifting": 0.8, "wave 1": 0.8},
        ),
        Stage(
            phase="new intents",
            until=0.48,
            weights={"first": 0.05, "drifting": 0.1, "wave 1": 0.3, "wave 2": 1},
            labelled={"first": 0.8, "drifting": 0.8, "wave 1": 0.8, "wave 2": 0.8},
        ),
        Stage(
            phase="new intents",
            until=0.56,
            weights={"first": 0.05, "drifting": 1, "wave 1": 0.3, "wave 2": 1},
            labelled={"first": 0.8, "drifting": 0.8, "wave 1": 0.8, "wave 2": 0.8},
            reworded=0.9,
        ),
        Stage(
            phase="new intents",
            until=0.75,
            weights={"first": 0.05, "drifting": 0.3, "wave 1": 0.3, "wave 2": 0.3, "newest": 1},
            labelled={"first": 0.8, "drifting": 0.8, "wave 1": 0.8, "wave 2": 0.8, "newest": 0.8},
            reworded=0.9,
        ),
        Stage(
            phase="everything",
            until=1,
            weights={"first": 1, "drifting": 1, "wave 1": 1, "wave 2": 1, "newest": 1},
            labelled={"first": 0.05, "drifting": 0.25, "wave 1": 0.5, "wave 2": 0.5, "newest": 0.5},
            reworded=0.9,
        ),
    ),
)
