module "web" {
  image = "acme/web:1.0.0" # yado: web
}
