cat >/run/system.conf <<CONF
[system]
compatible=bench
bootloader=noop
bundle-formats=plain
data-directory=/run
[keyring]
path=/bench/cert.pem
[slot.rootfs.0]
device=/run/slot-a
type=raw
bootname=A
[slot.rootfs.1]
device=/run/slot-b
type=raw
bootname=B
CONF
mkdir -p /run/dbus
dbus-daemon --system --fork --print-pid >/run/dbus.pid
rauc service --conf=/run/system.conf --override-boot-slot=A >/run/log 2>&1 &
service=$!
trap 'kill $service $(cat /run/dbus.pid); wait $service || :' EXIT
ping='--system --print-reply --dest=de.pengutronix.rauc / org.freedesktop.DBus.Peer.Ping'
until dbus-send $ping >/dev/null 2>&1; do
    kill -0 $service || { cat /run/log >&2; exit 1; }
    sleep 0.01
done
rauc install /bench/bundle.raucb >/dev/null || { cat /run/log >&2; exit 1; }
