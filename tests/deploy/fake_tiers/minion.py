from fake_process import run

run(
    "minion",
    ("channel", "http"),
    {
        "ready": True,
        "state": "ready",
        "model": "m",
        "version": "1.0",
        "problem": None,
        "workers": [{"pid": 1, "state": "ready"}],
    },
)
