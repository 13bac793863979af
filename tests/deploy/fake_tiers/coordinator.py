from fake_process import run

run("coordinator", ("public", "operations"), {"ready": True, "models": {}})
