"""Many runs: what is missing is submitted as job arrays. The only room that imports submitit; none imports it."""
