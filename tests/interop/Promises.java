import jakarta.jms.*;
import org.apache.qpid.jms.JmsConnectionFactory;

/** What JMS asks of a broker: durable subscriptions and their end, temporary queues and topics, an error's properties. */
public class Promises {
    public static void main(String[] args) throws Exception {
        JmsConnectionFactory factory = new JmsConnectionFactory("amqp://127.0.0.1:" + args[0]);
        Connection sender = factory.createConnection();
        sender.start();
        Session sending = sender.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer news = sending.createProducer(sending.createTopic("jms/news"));
        for (int round = 0; round < 2; round++) {
            try (Connection reader = reader(factory)) {
                Session session = reader.createSession(false, Session.AUTO_ACKNOWLEDGE);
                MessageConsumer consumer = session.createDurableSubscriber(session.createTopic("jms/news"), "mine");
                Message message = consumer.receive(round == 0 ? 300 : 5000);
                System.out.println(message == null ? "nothing" : ((TextMessage) message).getText());
                consumer.close();
                if (round == 1) session.unsubscribe("mine");
            }
            news.send(sending.createTextMessage("while you were away"));
        }
        try (Connection reader = reader(factory)) {
            Session session = reader.createSession(false, Session.AUTO_ACKNOWLEDGE);
            try {
                session.unsubscribe("mine");
            } catch (InvalidDestinationException error) {
                System.out.println("no such subscription");
            }
            try {
                session.createConsumer(session.createTopic("jms/news"), "a = 1");
            } catch (JMSException error) {
                System.out.println(error.getMessage().contains("no filters"));
            }
            Destination[] made = {session.createTemporaryQueue(), session.createTemporaryTopic()};
            for (Destination replies : made) {
                MessageConsumer consumer = session.createConsumer(replies);
                BytesMessage reply = sending.createBytesMessage();
                reply.writeUTF("answer");
                sending.createProducer(replies).send(reply);
                System.out.println(((BytesMessage) consumer.receive(5000)).readUTF());
                consumer.close();
            }
            ((TemporaryQueue) made[0]).delete();
        }
        sender.close();
    }

    static Connection reader(JmsConnectionFactory factory) throws JMSException {
        Connection connection = factory.createConnection();
        connection.setClientID("jms-reader");
        connection.start();
        return connection;
    }
}
