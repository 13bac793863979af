from fake_process import run

run("coordinator", ("public", "operations", "http"), {"ready": True, "models": {}})
