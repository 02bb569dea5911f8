swupdate --key /bench/cert.pem --hwrevision bench:1.0 --download "--url $1" >&2
