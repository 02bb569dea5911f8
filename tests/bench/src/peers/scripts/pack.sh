# pack TREE PAYLOAD FOLDER
set -euo pipefail
tree=$1 payload=$2 folder=$3
cd "$folder"
if [ -e done ]; then exit; fi
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=bench -days 3650 \
    -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature 2>/dev/null

rm -rf content bundle.raucb
mkdir content
zstd --quiet --decompress --stdout "$payload" >content/root.img
cat >content/manifest.raucm <<MANIFEST
[update]
compatible=bench
version=1
[bundle]
format=plain
[image.rootfs]
filename=root.img
MANIFEST
mount --bind . "$tree/bench"
chroot "$tree" rauc --cert /bench/cert.pem --key /bench/key.pem --mksquashfs-args='-comp zstd' \
    bundle /bench/content /bench/bundle.raucb
rm -r content

ln -f "$payload" root.zst
cat >sw-description <<DESCRIPTION
software = {
  version = "1";
  hardware-compatibility = [ "1.0" ];
  images: ( {
    filename = "root.zst"; device = "/run/slot-b"; type = "raw"; compressed = "zstd";
    installed-directly = true; sha256 = "$(sha256sum root.zst | cut -d' ' -f1)";
  } );
}
DESCRIPTION
openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \
    -outform DER -nosmimecap -binary
printf '%s\n' sw-description sw-description.sig root.zst |
    chroot "$tree" sh -c 'cd /bench && cpio --quiet -o -H crc' >update.swu
rm root.zst
touch done
