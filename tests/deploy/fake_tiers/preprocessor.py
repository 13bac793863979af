from fake_process import run

run("preprocessor", ("channel", "http"), {"ready": True, "state": "ready", "workers": []})
