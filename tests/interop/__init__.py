"""valija and the programs it has to get along with, as Debian ships them."""
