//! The demo shop: eleven services, a database, a cache, a queue, a card gateway and a mail relay.
//!
//! Six kinds of requests enter at `storefront`; their medians lie between 35 and 200 ms. Names are
//! what an OpenTelemetry-instrumented shop would send, so that the verdicts on it read like real ones.

use crate::model::Nanos;

use super::topology::{BackendId, Call, Consumer, OperationId, Patience, Step, Topology};
use super::work::Work;

/// The shop as the demo and the tests know it.
pub fn shop() -> Topology {
    let mut shop = Topology::new();
    let db = shop.database("shop-db", "postgresql", "shop");
    let catalog = Catalog::add(&mut shop, db);
    let people = People::add(&mut shop, db);
    let baskets = Baskets::add(&mut shop, db, &catalog);
    let orders = Orders::add(&mut shop, db);
    let checkout = add_checkout(&mut shop, &people, &baskets, &orders);
    add_storefront(&mut shop, &catalog, &people, &baskets, &orders, checkout);
    shop
}

struct Catalog {
    list: OperationId,
    product: OperationId,
    recommend: OperationId,
}

impl Catalog {
    fn add(shop: &mut Topology, db: BackendId) -> Catalog {
        let catalog = shop.service("catalog", "3.2.1", 3);
        let list = vec![
            Step::work(4.0),
            Step::query(db, "SELECT products", 14.0),
            Step::inside("serialize products", vec![Step::work(7.0)]),
        ];
        let list = shop.operation(catalog, "GET /products", list);
        let product =
            vec![Step::work(2.0), Step::query(db, "SELECT product by id", 4.0), Step::work(1.0)];
        let product = shop.operation(catalog, "GET /products/{id}", product);
        let recommendations = shop.service("recommendations", "0.9.4", 2);
        let recommend = vec![
            Step::Work(Work::ms(22.0).sigma(0.45)),
            Step::Together(vec![Call::to(product).times(3, 5)]),
            Step::work(2.0),
        ];
        let recommend = shop.operation(recommendations, "GET /recommendations", recommend);
        Catalog { list, product, recommend }
    }
}

struct People {
    session: OperationId,
}

impl People {
    fn add(shop: &mut Topology, db: BackendId) -> People {
        let accounts = shop.service("accounts", "1.9.0", 2);
        let session = vec![Step::work(1.5), Step::query(db, "SELECT session", 3.0)];
        People { session: shop.operation(accounts, "GET /session", session) }
    }
}

struct Baskets {
    quote: OperationId,
    cart: OperationId,
    add_item: OperationId,
}

impl Baskets {
    fn add(shop: &mut Topology, db: BackendId, catalog: &Catalog) -> Baskets {
        let pricing = shop.service("pricing", "5.0.2", 2);
        let rules = Work::ms(4.0).bimodal(0.1, 4.0);
        let quote = vec![
            Step::work(6.0),
            Call::query(db, "SELECT price_rules", rules).into(),
            Step::work(1.0),
        ];
        let quote = shop.operation(pricing, "POST /quote", quote);
        let cache =
            [("db.system.name", "redis"), ("server.address", "cart-cache"), ("db.namespace", "0")];
        let cache = shop.backend("cart-cache", &cache);
        let service = shop.service("cart", "1.4.0", 2);
        let cart = vec![
            Step::work(3.0),
            Step::query(cache, "HGETALL", 1.0),
            Call::to(catalog.product).times(1, 4).into(),
            Step::work(1.0),
            Step::call(quote),
        ];
        let cart = shop.operation(service, "GET /cart", cart);
        let add_item = vec![
            Step::work(1.5),
            Step::call(catalog.product),
            Step::query(cache, "HSET", 0.7),
            Step::work(0.5),
        ];
        let add_item = shop.operation(service, "POST /cart/items", add_item);
        Baskets { quote, cart, add_item }
    }
}

struct Orders {
    estimate: OperationId,
    charge: OperationId,
    place: OperationId,
    list: OperationId,
}

impl Orders {
    fn add(shop: &mut Topology, db: BackendId) -> Orders {
        let shipping = shop.service("shipping", "2.2.0", 1);
        let estimate = vec![Step::work(6.0), Step::query(db, "SELECT rates", 2.5)];
        let estimate = shop.operation(shipping, "POST /estimate", estimate);
        let dispatch = vec![Step::work(12.0), Step::query(db, "INSERT shipment", 4.0)];
        let dispatch = shop.consumer(shipping, "dispatch order", dispatch);
        let notifications = shop.service("notifications", "1.1.0", 1);
        let relay = shop.backend("mail-relay", &[("peer.service", "mail-relay")]);
        let mail = vec![Step::work(15.0), Step::query(relay, "SMTP DATA", 30.0), Step::work(2.0)];
        let mail = shop.consumer(notifications, "mail order", mail);
        let gateway =
            [("peer.service", "card-gateway"), ("server.address", "api.card-gateway.example")];
        let gateway = shop.backend("card-gateway", &gateway);
        let payments = shop.service("payments", "4.7.3", 2);
        let charge = vec![
            Step::work(4.0),
            Call::query(gateway, "POST /authorize", Work::ms(55.0).sigma(0.3)).into(),
            Step::work(2.0),
        ];
        let charge = shop.operation(payments, "POST /charge", charge);
        let consumers = [dispatch, mail]
            .map(|operation| Consumer { operation, lag: Work::ms(15.0).sigma(0.6) });
        let (place, list) = Orders::add_orders(shop, db, consumers.to_vec());
        Orders { estimate, charge, place, list }
    }

    fn add_orders(
        shop: &mut Topology,
        db: BackendId,
        consumers: Vec<Consumer>,
    ) -> (OperationId, OperationId) {
        let queue = [
            ("messaging.system", "kafka"),
            ("messaging.destination.name", "order-events"),
            ("server.address", "order-events"),
        ];
        let queue = shop.backend("order-events", &queue);
        let orders = shop.service("orders", "2.0.8", 2);
        let place = vec![
            Step::work(3.0),
            Step::query(db, "INSERT order", 4.0),
            Call::query(db, "INSERT order_line", Work::ms(2.0)).times(1, 4).into(),
            Call::publish(queue, "order-events publish", Work::ms(1.2), consumers).into(),
            Step::work(1.0),
        ];
        let place = shop.operation(orders, "POST /orders", place);
        let list = vec![Step::work(2.5), Step::query(db, "SELECT orders", 16.0), Step::work(2.0)];
        (place, shop.operation(orders, "GET /orders", list))
    }
}

fn add_checkout(
    shop: &mut Topology,
    people: &People,
    baskets: &Baskets,
    orders: &Orders,
) -> OperationId {
    let checkout = shop.service("checkout", "6.3.0", 2);
    let patience =
        Patience { timeout: Nanos::from_millis(400), retries: 2, back_off: Nanos::from_millis(50) };
    let steps = vec![
        Step::work(4.0),
        Step::call(people.session),
        Step::call(baskets.cart),
        Step::Together(vec![Call::to(orders.estimate), Call::to(baskets.quote)]),
        Step::work(3.0),
        Call::to(orders.charge).patience(patience).into(),
        Step::call(orders.place),
        Step::work(2.0),
    ];
    shop.operation(checkout, "POST /checkout", steps)
}

fn add_storefront(
    shop: &mut Topology,
    catalog: &Catalog,
    people: &People,
    baskets: &Baskets,
    orders: &Orders,
    checkout: OperationId,
) {
    let storefront = shop.service("storefront", "8.1.0", 3);
    let render = |median_ms| Step::inside("render", vec![Step::work(median_ms)]);
    let session = || Step::call(people.session);
    let home = Step::Together(vec![Call::to(catalog.list), Call::to(catalog.recommend)]);
    let product = Step::Together(vec![
        Call::to(catalog.product),
        Call::to(baskets.quote),
        Call::to(catalog.recommend).sometimes(0.7),
    ]);
    for (name, weight, steps) in [
        ("GET /", 30.0, vec![Step::work(3.0), session(), home, render(18.0)]),
        ("GET /product/{id}", 30.0, vec![Step::work(3.0), session(), product, render(15.0)]),
        (
            "GET /cart",
            15.0,
            vec![Step::work(3.0), session(), Step::call(baskets.cart), render(12.0)],
        ),
        (
            "POST /cart/items",
            10.0,
            vec![Step::work(4.0), session(), Step::call(baskets.add_item), Step::work(18.0)],
        ),
        ("POST /checkout", 10.0, vec![Step::work(5.0), Step::call(checkout), render(12.0)]),
        (
            "GET /orders",
            5.0,
            vec![Step::work(3.0), session(), Step::call(orders.list), render(20.0)],
        ),
    ] {
        let operation = shop.operation(storefront, name, steps);
        shop.entry(operation, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn the_shop_has_its_services_and_its_backends() {
        let shop = shop();
        assert_eq!(shop.service_names().count(), 11);
        assert_eq!(shop.backend_names().count(), 5);
        let names: BTreeSet<_> = shop.operation_names().collect();
        assert_eq!(names.len(), shop.operation_names().count(), "an operation twice");
    }

    #[test]
    fn every_operation_is_reached() {
        let seen: BTreeSet<_> = Scenario::new(shop(), 60)
            .traces()
            .unwrap()
            .flat_map(|trace| trace.spans)
            .filter(|span| span.attributes.is_empty())
            .map(|span| (span.resource.service.to_string(), span.name.to_string()))
            .collect();
        for (service, operation) in shop().operation_names() {
            let name = (service.to_string(), operation.to_string());
            assert!(seen.contains(&name), "{name:?}");
        }
    }

    #[test]
    fn half_of_the_requests_of_each_entry_take_between_30_and_300_ms() {
        let mut entries: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for trace in Scenario::new(shop(), 300).traces().unwrap() {
            let root = trace.spans.iter().find(|span| span.parent.is_none()).unwrap();
            entries.entry(root.name.to_string()).or_default().push(root.duration().0);
        }
        assert_eq!(entries.len(), 6);
        for (name, mut durations) in entries {
            durations.sort_unstable();
            let median_ms = durations[durations.len() / 2] / 1_000_000;
            assert!((30..=300).contains(&median_ms), "{name}: {median_ms} ms");
        }
    }
}
